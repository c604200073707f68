# There is no default group: the program that names one compiles, those that leave it out do not.
foreach(program ${PROGRAMS})
  execute_process(
    COMMAND ${CXX} -std=c++20 -fsyntax-only -I${INCLUDE} -I${GENERATED} ${SOURCES}/${program}
    RESULT_VARIABLE result ERROR_VARIABLE errors)
  if(program MATCHES "with_group.cpp$" AND NOT result EQUAL 0)
    message(FATAL_ERROR "${program} must compile:\n${errors}")
  endif()
  if(NOT program MATCHES "with_group.cpp$" AND result EQUAL 0)
    message(FATAL_ERROR "${program} compiles, although it names no group")
  endif()
endforeach()
