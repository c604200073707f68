#include "collectives/call_check.hpp"
#include "collectives/host/algorithms.hpp"
#include "collectives/host/reduce.hpp"

namespace cohort::host {

void pull_reduce_scatter(Exchange& exchange, std::span<const std::byte*> operands) {
  const collectives::Call& call = exchange.call();
  if (!exchange.arrive_all() || call.output.elements == 0) return;
  const std::size_t element = exchange.element_bytes();
  const std::size_t begin = collectives::part_begin(call, exchange.self()) * element;
  for (std::uint32_t member = 0; member < exchange.size(); ++member) {
    operands[member] = exchange.operand(member, begin, call.output.elements * element);
  }
  reduce(operands, static_cast<std::byte*>(call.output.data), call.output.elements, call.dtype,
         call.reduce_op);
}

}  // namespace cohort::host
