#include "collectives/host/algorithms.hpp"
#include "collectives/host/copy.hpp"
#include "collectives/host/reduce.hpp"
#include "collectives/partition.hpp"

namespace cohort::host {

using collectives::Call;
using collectives::Part;
using collectives::part_of;

void reduce_whole(Exchange& exchange, std::span<const std::byte*> operands) {
  const Call& call = exchange.call();
  if (call.input.elements == 0) return;
  const std::size_t bytes = call.input.elements * exchange.element_bytes();
  for (std::uint32_t member = 0; member < exchange.size(); ++member) {
    operands[member] = exchange.operand(member, 0, bytes);
  }
  reduce(operands, static_cast<std::byte*>(call.output.data), call.output.elements, call.dtype,
         call.reduce_op);
}

// In place is safe: part i of every operand is read by rank i alone, and rank i says that its part
// of the result is readable only after it has read them all.
void pull_all_reduce(Exchange& exchange, std::byte* result, std::span<const std::byte*> operands) {
  const Call& call = exchange.call();
  const std::size_t element = exchange.element_bytes();
  const std::uint32_t size = exchange.size();
  const Part own = part_of(call.input.elements, size, exchange.self(), element);
  for (std::uint32_t member = 0; member < size; ++member) {
    operands[member] = exchange.operand(member, own.begin * element, own.count * element);
  }
  std::byte* own_result = result + own.begin * element;
  if (own.count != 0) reduce(operands, own_result, own.count, call.dtype, call.reduce_op);
  exchange.publish_result();

  auto* output = static_cast<std::byte*>(call.output.data);
  if (own.count != 0 && output + own.begin * element != own_result) {
    copy_bytes(output + own.begin * element, own_result, own.count * element);
  }
  for (const std::uint32_t member : exchange.channel().pull_order()) {
    const Part part = part_of(call.input.elements, size, member, element);
    exchange.await_result(member);
    if (part.count == 0) continue;
    copy_bytes(output + part.begin * element,
               exchange.result(member, part.begin * element, part.count * element),
               part.count * element);
  }
}

}  // namespace cohort::host
