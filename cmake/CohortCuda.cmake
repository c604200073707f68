# The GPU plugin, libcohort_cuda.so: one target, cohort_cuda, that src/backend/cuda/plugin and
# src/collectives/cuda add their sources to. Nothing else is compiled by nvcc, and nothing links
# the plugin: the library loads it on demand.

set(COHORT_CUDA AUTO CACHE STRING "Build the GPU plugin: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE COHORT_CUDA PROPERTY STRINGS AUTO ON OFF)
set(COHORT_CUDA_ARCHITECTURES 80 90 100 CACHE STRING
  "Compute capabilities to compile kernels for; the last one also for later devices")
# 12.8 is the first that knows sm_100.
set(COHORT_CUDA_VERSION_MIN 12.8)

set(COHORT_HAS_CUDA OFF)

# AUTO goes on without the plugin and says why; ON ends here and says what to do.
function(cohort_leave_cuda_out why what_to_do)
  if(COHORT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "COHORT_CUDA=ON, but ${why}. ${what_to_do}.")
  endif()
  message(STATUS "GPU plugin: left out, ${why}")
endfunction()

# Whether nvcc builds a program with the runtime that the plugin links; if not, `why` in one line,
# where enable_language would end the whole configuration.
function(cohort_try_nvcc works why)
  set(probe ${CMAKE_BINARY_DIR}/CMakeFiles/cohort_nvcc_probe)
  set(options -cudart=static)
  if(CMAKE_CUDA_HOST_COMPILER)
    list(APPEND options -ccbin ${CMAKE_CUDA_HOST_COMPILER})
  elseif(DEFINED ENV{CUDAHOSTCXX})
    list(APPEND options -ccbin $ENV{CUDAHOSTCXX})
  endif()
  file(WRITE ${probe}.cu "int main() { return cudaGetLastError() == cudaSuccess ? 0 : 1; }\n")
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} ${options} -o ${probe} ${probe}.cu
    RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(status EQUAL 0)
    set(${works} TRUE PARENT_SCOPE)
    return()
  endif()
  string(REGEX MATCH "[^\n]*([Ee]rror|[Ff]atal|[Uu]nsupported|cannot find)[^\n]*" line "${text}")
  if(NOT line)
    set(line "exit status ${status}")
  endif()
  set(${works} FALSE PARENT_SCOPE)
  set(${why} "nvcc at ${CMAKE_CUDA_COMPILER} builds no program: ${line}" PARENT_SCOPE)
endfunction()

if(NOT COHORT_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "COHORT_CUDA must be AUTO, ON or OFF, not '${COHORT_CUDA}'")
endif()
if(COHORT_CUDA STREQUAL "OFF")
  return()
endif()
# The driver maps memory where the sanitizers keep their shadow, and nvcc knows none of them.
if(COHORT_SANITIZE)
  message(STATUS "GPU plugin: left out, sanitizers are on")
  return()
endif()

if(DEFINED ENV{CUDACXX} AND NOT DEFINED CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER "$ENV{CUDACXX}")
endif()
if(NOT CMAKE_CUDA_COMPILER)
  find_program(CMAKE_CUDA_COMPILER nvcc PATHS /usr/local/cuda/bin /opt/cuda/bin
    DOC "CUDA compiler")
endif()
set(get_toolkit
  "Install the CUDA toolkit, ${COHORT_CUDA_VERSION_MIN} or later, or name its nvcc in CUDACXX")
if(NOT CMAKE_CUDA_COMPILER)
  cohort_leave_cuda_out("no nvcc is in PATH or /usr/local/cuda/bin" "${get_toolkit}")
  return()
endif()
execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE text ERROR_QUIET)
if(text MATCHES "release [0-9.]+, V([0-9.]+)" AND
    CMAKE_MATCH_1 VERSION_LESS COHORT_CUDA_VERSION_MIN)
  cohort_leave_cuda_out("nvcc ${CMAKE_MATCH_1} at ${CMAKE_CUDA_COMPILER} is older than \
${COHORT_CUDA_VERSION_MIN}" "${get_toolkit}")
  return()
endif()
if(NOT COHORT_WORKING_NVCC STREQUAL CMAKE_CUDA_COMPILER)
  cohort_try_nvcc(works why)
  if(NOT works)
    cohort_leave_cuda_out("${why}" "${get_toolkit}, with its cudart development package")
    return()
  endif()
  set(COHORT_WORKING_NVCC ${CMAKE_CUDA_COMPILER} CACHE INTERNAL "The nvcc that was tried")
endif()

# Only the last architecture is kept as PTX too, which the driver compiles for later devices.
list(TRANSFORM COHORT_CUDA_ARCHITECTURES APPEND "-real" OUTPUT_VARIABLE CMAKE_CUDA_ARCHITECTURES)
list(GET COHORT_CUDA_ARCHITECTURES -1 last_architecture)
list(APPEND CMAKE_CUDA_ARCHITECTURES ${last_architecture}-virtual)
if(CMAKE_CXX_COMPILER_LAUNCHER AND NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
enable_language(CUDA)
# CMake 3.25.1 does not know that nvcc knows C++20.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
find_package(CUDAToolkit REQUIRED)
set(COHORT_HAS_CUDA ON)
message(STATUS "GPU plugin: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, compute capability "
  "${COHORT_CUDA_ARCHITECTURES}")

# A product and a sum stay two roundings, denormals are kept: the same bits as on the host.
set(COHORT_CUDA_COMPILE_OPTIONS -fmad=false -ftz=false -prec-div=true -prec-sqrt=true
  -Xcompiler=-Wall,-Wextra -Wno-deprecated-gpu-targets)
if(COHORT_WERROR)
  list(APPEND COHORT_CUDA_COMPILE_OPTIONS -Werror=all-warnings,cross-execution-space-call
    -Xcompiler=-Werror)
endif()

# What is compiled for the plugin, and tests of it, get the same options. Never linked: libcuda,
# which the runtime looks for when it is first needed, and the library itself.
function(cohort_configure_cuda_target target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:${COHORT_COMPILE_OPTIONS}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:${COHORT_CUDA_COMPILE_OPTIONS}>")
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include
    ${PROJECT_BINARY_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE CUDA::cudart_static)
  if(COHORT_ASSERTIONS)
    target_compile_definitions(${target} PRIVATE COHORT_ASSERTIONS=1)
  endif()
  set_target_properties(${target} PROPERTIES
    CUDA_STANDARD 20
    CUDA_STANDARD_REQUIRED ON
    CUDA_EXTENSIONS OFF
    CUDA_VISIBILITY_PRESET hidden
    CUDA_RUNTIME_LIBRARY Static)
endfunction()

# cohort_cuda_plugin(<target> <file name>): an empty plugin; sources come by target_sources.
function(cohort_cuda_plugin target output)
  set(export_script ${PROJECT_SOURCE_DIR}/cmake/plugin_exports.map)
  add_library(${target} MODULE)
  cohort_configure_cuda_target(${target})
  target_link_options(${target} PRIVATE -Wl,--no-undefined -Wl,--version-script=${export_script})
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${output}
    LINKER_LANGUAGE CXX
    LINK_DEPENDS ${export_script}
    BUILD_WITH_INSTALL_RPATH ON
    INSTALL_RPATH "$ORIGIN"
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()

cohort_cuda_plugin(cohort_cuda cohort_cuda)
# Beside the library, which looks there first; who has no GPU can leave the component out.
install(TARGETS cohort_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cuda)
