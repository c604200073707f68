# Compiles each public header as the only one of a source, warnings as errors.
list(TRANSFORM FOLDERS PREPEND -I OUTPUT_VARIABLE include_flags)
set(checked 0)
foreach(folder IN LISTS FOLDERS)
  file(GLOB_RECURSE headers ${folder}/cohort/*.hpp)
  foreach(header IN LISTS headers)
    execute_process(COMMAND ${COMPILER} -std=c++20 -fsyntax-only
      -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Werror
      ${include_flags} -include ${header} -x c++ /dev/null
      RESULT_VARIABLE status ERROR_VARIABLE messages)
    math(EXPR checked "${checked} + 1")
    if(NOT status EQUAL 0)
      message(SEND_ERROR "${header} does not compile alone with ${COMPILER}:\n${messages}")
    endif()
  endforeach()
endforeach()
if(checked EQUAL 0)
  message(FATAL_ERROR "no header found in ${FOLDERS}")
endif()
message(STATUS "${checked} headers compile alone with ${COMPILER}")
