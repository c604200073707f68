# Case 0 of SOURCE compiles, cases 1 to CASES do not.
list(TRANSFORM FOLDERS PREPEND -I OUTPUT_VARIABLE include_flags)
foreach(case RANGE ${CASES})
  execute_process(COMMAND g++ -std=c++20 -fsyntax-only -Wall -Werror -Wno-unused
    ${include_flags} -DMISUSE=${case} ${SOURCE} RESULT_VARIABLE status ERROR_VARIABLE messages)
  if(case EQUAL 0 AND NOT status EQUAL 0)
    message(FATAL_ERROR "the correct use does not compile:\n${messages}")
  elseif(case GREATER 0 AND status EQUAL 0)
    message(SEND_ERROR "case ${case} of ${SOURCE} compiles")
  endif()
endforeach()
