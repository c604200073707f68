# There is no default group: the program that names one compiles, those that leave it out do not.
foreach(program with_group without_group group_without_kind slot_without_group)
  execute_process(
    COMMAND ${CXX} -std=c++20 -fsyntax-only -I${INCLUDE} -I${GENERATED} ${SOURCES}/${program}.cpp
    RESULT_VARIABLE result ERROR_VARIABLE errors)
  if(program STREQUAL "with_group" AND NOT result EQUAL 0)
    message(FATAL_ERROR "${program}.cpp must compile:\n${errors}")
  endif()
  if(NOT program STREQUAL "with_group" AND result EQUAL 0)
    message(FATAL_ERROR "${program}.cpp compiles, although it names no group")
  endif()
endforeach()
