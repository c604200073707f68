# One folder of src/ is one static library `cohort_<folder>`; tests link just the folders they need,
# and the shipped library is made from the objects of all runtime folders.

set(COHORT_COMPILE_OPTIONS -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow)
if(CMAKE_UNITY_BUILD)  # sources of one batch shadow each other's names
  list(REMOVE_ITEM COHORT_COMPILE_OPTIONS -Wshadow)
endif()
if(COHORT_WERROR)
  list(APPEND COHORT_COMPILE_OPTIONS -Werror)
endif()
# Results must not depend on the compiler's mood: a product and a sum stay two roundings unless the
# source says otherwise.
list(APPEND COHORT_COMPILE_OPTIONS -ffp-contract=off)
# g++ 12 sees overlapping copies in every `"text" + std::to_string(...)` (its bug 105651).
list(APPEND COHORT_COMPILE_OPTIONS $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)

set(COHORT_SANITIZE_OPTIONS "")
if(COHORT_SANITIZE STREQUAL "address")
  set(COHORT_SANITIZE_OPTIONS -fsanitize=address,undefined -fno-sanitize=null,vptr,object-size
    -fno-sanitize-recover=all)
elseif(COHORT_SANITIZE STREQUAL "thread")
  set(COHORT_SANITIZE_OPTIONS -fsanitize=thread)
elseif(NOT COHORT_SANITIZE STREQUAL "")
  message(FATAL_ERROR "COHORT_SANITIZE must be empty, address or thread, not '${COHORT_SANITIZE}'")
endif()
add_compile_options(${COHORT_SANITIZE_OPTIONS})
add_link_options(${COHORT_SANITIZE_OPTIONS})

function(cohort_configure_target target)
  target_compile_options(${target} PRIVATE ${COHORT_COMPILE_OPTIONS})
  if(COHORT_ASSERTIONS)
    target_compile_definitions(${target} PRIVATE COHORT_ASSERTIONS=1)
  endif()
  if(COHORT_UNCHECKED)
    target_compile_definitions(${target} PRIVATE COHORT_UNCHECKED=1)
  endif()
  if(COHORT_SANITIZE STREQUAL "thread")
    target_compile_definitions(${target} PRIVATE COHORT_THREAD_SANITIZER=1)
  endif()
endfunction()

# cohort_module(<folder> SOURCES a.cpp ... [DEPENDS folder ...] [LIBRARIES target ...])
function(cohort_module name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_library(cohort_${name} STATIC ${ARG_SOURCES})
  cohort_configure_target(cohort_${name})
  target_include_directories(cohort_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include
    ${PROJECT_BINARY_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM ARG_DEPENDS PREPEND cohort_)
  target_link_libraries(cohort_${name} PUBLIC ${ARG_DEPENDS} ${ARG_LIBRARIES})
  set_target_properties(cohort_${name} PROPERTIES COHORT_THIRD_PARTY "${ARG_LIBRARIES}")
endfunction()

# cohort_compile_alone(a.cpp ...)
# The sanitizers' presets compile the sources of a target in batches of eight (CMake's unity build),
# and so does COHORT_BATCH_TESTS those of tests. Two sources that give the same name to something of
# their own cannot be in one batch: one of them is named so, in the CMakeLists.txt of its target.
function(cohort_compile_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# cohort_test(<folder> SOURCES a_test.cpp ... [DEPENDS folder ...] [LIBRARIES target ...]
#             [PROCESSORS n] [TIMEOUT seconds]
#             [RELEASE_ONLY | RELEASE_ONLY_CASES pattern ...] [NEEDS_COMMAND])
# One binary `<folder>_tests`; each of its cases is a ctest entry labelled with the folder's name.
# RELEASE_ONLY leaves the binary out of sanitizer builds, RELEASE_ONLY_CASES only the cases that
# match a GoogleTest filter pattern. NEEDS_COMMAND: the cases run ${COHORT_BUILD_DIR}/cohort.
function(cohort_test name)
  cmake_parse_arguments(ARG "RELEASE_ONLY;NEEDS_COMMAND" "PROCESSORS;TIMEOUT"
    "SOURCES;DEPENDS;LIBRARIES;RELEASE_ONLY_CASES" ${ARGN})
  if(ARG_RELEASE_ONLY AND COHORT_SANITIZE)
    return()
  endif()
  add_executable(${name}_tests ${ARG_SOURCES})
  cohort_configure_target(${name}_tests)
  list(TRANSFORM ARG_DEPENDS PREPEND cohort_)
  target_link_libraries(${name}_tests PRIVATE ${ARG_DEPENDS} ${ARG_LIBRARIES}
    GTest::gtest GTest::gmock GTest::gtest_main)
  target_include_directories(${name}_tests PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name}_tests PRIVATE
    COHORT_TEST_DATA="${PROJECT_SOURCE_DIR}/tests" COHORT_BUILD_DIR="${CMAKE_BINARY_DIR}")
  if(COHORT_BATCH_TESTS)
    set_target_properties(${name}_tests PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    target_compile_options(${name}_tests PRIVATE -Wno-shadow)
  endif()
  if(ARG_NEEDS_COMMAND)
    add_dependencies(${name}_tests cohort_command)
  endif()
  if(NOT ARG_PROCESSORS)
    set(ARG_PROCESSORS 1)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set(filter "")
  set(environment "")
  if(COHORT_SANITIZE)
    # Instrumented code is several times slower: the product's deadlines and the tests' stretch.
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 5")
    set(environment ENVIRONMENT COHORT_DEADLINE_SCALE=5)
    if(COHORT_SANITIZE STREQUAL "thread")
      set(environment ENVIRONMENT COHORT_DEADLINE_SCALE=10)
      # What ranks that are processes share, it does not see; as threads they are all there, too.
      list(APPEND ARG_RELEASE_ONLY_CASES "*processes*")
    endif()
    if(ARG_RELEASE_ONLY_CASES)
      list(JOIN ARG_RELEASE_ONLY_CASES ":" patterns)
      set(filter TEST_FILTER "-${patterns}")
    endif()
  endif()
  gtest_discover_tests(${name}_tests DISCOVERY_TIMEOUT 60 TEST_PREFIX "${name}." ${filter}
    PROPERTIES LABELS ${name} TIMEOUT ${ARG_TIMEOUT} PROCESSORS ${ARG_PROCESSORS} ${environment})
endfunction()
