# Installs the library into a prefix of its own, then configures, builds and runs a program that
# knows nothing but that prefix.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\nended with ${status}:\n${text}")
  endif()
  set(output "${text}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix --component library)
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK}/build -G ${GENERATOR}
  -D CMAKE_PREFIX_PATH=${WORK}/prefix -D CMAKE_BUILD_TYPE=Release -D EXAMPLE=${EXAMPLE})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer)
if(NOT output STREQUAL "cohort ${VERSION}: rank 3 is in attn_cp [1, 3]\n")
  message(FATAL_ERROR "the consumer printed: ${output}")
endif()
run(${WORK}/build/example)
if(NOT output MATCHES "\n10 by host_inline")
  message(FATAL_ERROR "the example printed: ${output}")
endif()

run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer_c -B ${WORK}/build_c -G ${GENERATOR}
  -D CMAKE_PREFIX_PATH=${WORK}/prefix -D CMAKE_BUILD_TYPE=Release -D EXAMPLE=${C_EXAMPLE})
run(${CMAKE_COMMAND} --build ${WORK}/build_c)
run(${WORK}/build_c/c_example)
if(NOT output MATCHES "the sum over 1 ranks is 1, by local")
  message(FATAL_ERROR "the C example printed: ${output}")
endif()
