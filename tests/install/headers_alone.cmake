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
  # The C interface, as C11 without extensions, and as C++.
  file(GLOB_RECURSE headers ${folder}/cohort/*.h)
  foreach(header IN LISTS headers)
    foreach(language "c;-std=c11" "c++;-std=c++20")
      list(POP_FRONT language name)
      execute_process(COMMAND ${COMPILER} -x ${name} ${language} -fsyntax-only
        -pedantic-errors -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Werror
        ${include_flags} -include ${header} /dev/null
        RESULT_VARIABLE status ERROR_VARIABLE messages)
      math(EXPR checked "${checked} + 1")
      if(NOT status EQUAL 0)
        message(SEND_ERROR "${header} does not compile alone as ${name}:\n${messages}")
      endif()
    endforeach()
  endforeach()
endforeach()
if(checked EQUAL 0)
  message(FATAL_ERROR "no header found in ${FOLDERS}")
endif()
message(STATUS "${checked} headers compile alone with ${COMPILER}")
