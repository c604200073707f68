# cohort::cohort, the shipped library: one shared object made from the objects of the runtime
# folders. Model and engine stay out of it, they drag in what a user of the runtime does not need.

set(runtime_folders base topology rendezvous backend heap reduce collectives session layer capi)

# Not called `cohort`, which is the name of the command's file in the build folder.
add_library(cohort_library SHARED)
add_library(cohort::cohort ALIAS cohort_library)
foreach(folder IN LISTS runtime_folders)
  target_sources(cohort_library PRIVATE $<TARGET_OBJECTS:cohort_${folder}>)
  get_target_property(libraries cohort_${folder} COHORT_THIRD_PARTY)
  target_link_libraries(cohort_library PRIVATE ${libraries})
endforeach()
target_link_libraries(cohort_library PRIVATE Threads::Threads)
target_include_directories(cohort_library PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(cohort_library PUBLIC cxx_std_20)
# The standard library's templates, instantiated here, would be visible without the script.
set(export_script ${CMAKE_CURRENT_LIST_DIR}/exports.map)
target_link_options(cohort_library PRIVATE -Wl,--no-undefined
  -Wl,--version-script=${export_script})
set_target_properties(cohort_library PROPERTIES LINK_DEPENDS ${export_script})
# Until 1.0 every minor version may change the interface, so it stands in the soname.
set_target_properties(cohort_library PROPERTIES
  OUTPUT_NAME cohort
  EXPORT_NAME cohort
  LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
if(COHORT_SANITIZE)
  # The tests link the folders; linking the same objects once more would only cost time.
  set_target_properties(cohort_library PROPERTIES EXCLUDE_FROM_ALL ON)
endif()

# Built on the shared library, not part of it.
add_subdirectory(${PROJECT_SOURCE_DIR}/src/capi/torch)

include(CMakePackageConfigHelpers)
set(package_directory ${CMAKE_INSTALL_LIBDIR}/cmake/cohort)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/cohortConfig.cmake.in
  ${PROJECT_BINARY_DIR}/cohortConfig.cmake INSTALL_DESTINATION ${package_directory})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cohortConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
set(pkgconfig_directory ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pkgconfig_to_prefix /prefix/${pkgconfig_directory} /prefix)
string(REGEX REPLACE "/$" "" pkgconfig_to_prefix ${pkgconfig_to_prefix})
configure_file(${CMAKE_CURRENT_LIST_DIR}/cohort.pc.in ${PROJECT_BINARY_DIR}/cohort.pc @ONLY)

# To run a program needs `library` alone, to build one `development` too. Within the build folder
# the package is found with `cohort_DIR`.
install(TARGETS cohort_library EXPORT cohortTargets
  LIBRARY COMPONENT library NAMELINK_COMPONENT development)
install(EXPORT cohortTargets NAMESPACE cohort:: DESTINATION ${package_directory}
  COMPONENT development)
export(EXPORT cohortTargets NAMESPACE cohort:: FILE ${PROJECT_BINARY_DIR}/cohortTargets.cmake)
install(FILES ${PROJECT_BINARY_DIR}/cohortConfig.cmake
  ${PROJECT_BINARY_DIR}/cohortConfigVersion.cmake DESTINATION ${package_directory}
  COMPONENT development)
install(FILES ${PROJECT_BINARY_DIR}/cohort.pc DESTINATION ${pkgconfig_directory}
  COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/cohort ${PROJECT_BINARY_DIR}/include/cohort
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
