# Debian packages by CPack: `cpack --config build/release/CPackConfig.cmake`, or scripts/package.
# One for each component: the library under its soname, what is needed to build against it, the
# command, the part for PyTorch, and the GPU plugin where it is built.

set(soname_version ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(package_library libcohort${soname_version})
set(package_development libcohort-dev)
set(package_command cohort)
set(package_torch libcohort-torch)
set(package_cuda libcohort-cuda)

set(summary_library "symmetric memory and collectives for hybrid-parallel inference")
set(summary_development "headers and build files of cohort")
set(summary_command "runs, plans, measures and checks ranks on a machine")
set(summary_torch "memory and collectives of cohort for PyTorch")
set(summary_cuda "GPU plugin of cohort")
set(section_library libs)
set(section_development libdevel)
set(section_command utils)
set(section_torch python)
set(section_cuda libs)

set(components library development torch)
if(COHORT_TOOLS)
  list(APPEND components command)
endif()
if(COHORT_HAS_CUDA)
  list(APPEND components cuda)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME cohort)
set(CPACK_PACKAGE_CONTACT "cohort maintainers <maintainers@cohort.invalid>")
# Each package has a summary of its own.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL ${components})
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# Each package needs what its files link, in the versions that have the symbols they use; what lies
# in a neighbour is said by its name and this very version.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR})
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY "=")
set(own_library "${package_library} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${own_library}")
set(CPACK_DEBIAN_TORCH_PACKAGE_DEPENDS "${own_library}, python3")
# The command needs no shared library of ours, and finds the plugin by itself.
set(CPACK_DEBIAN_COMMAND_PACKAGE_SUGGESTS "${package_cuda} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SUGGESTS "${package_cuda} (= ${PROJECT_VERSION})")

foreach(component IN LISTS components)
  string(TOUPPER ${component} name)
  set(CPACK_DEBIAN_${name}_PACKAGE_NAME ${package_${component}})
  set(CPACK_DEBIAN_${name}_PACKAGE_SECTION ${section_${component}})
  # The first line is the summary, the others are the text.
  set(CPACK_COMPONENT_${name}_DESCRIPTION "${summary_${component}}
Part of cohort: a library, a command and a reference engine for large models that are served over
many ranks.")
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE RENAME copyright COMPONENT ${component}
    DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${package_${component}})
endforeach()

include(CPack)
