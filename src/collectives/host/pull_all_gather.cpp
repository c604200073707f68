#include "collectives/call_check.hpp"
#include "collectives/host/algorithms.hpp"
#include "collectives/host/copy.hpp"

namespace cohort::host {

void pull_all_gather(Exchange& exchange) {
  const collectives::Call& call = exchange.call();
  const std::size_t element = exchange.element_bytes();
  auto* output = static_cast<std::byte*>(call.output.data);
  std::byte* own = output + collectives::part_begin(call, exchange.self()) * element;
  if (call.input.elements != 0 && own != call.input.data) {
    copy_bytes(own, static_cast<const std::byte*>(call.input.data), call.input.elements * element);
  }
  for (const std::uint32_t member : exchange.channel().pull_order()) {
    if (!exchange.arrive(member)) continue;
    const std::size_t bytes = collectives::part_elements(call, member) * element;
    if (bytes == 0) continue;
    copy_bytes(output + collectives::part_begin(call, member) * element,
               exchange.operand(member, 0, bytes), bytes);
  }
}

}  // namespace cohort::host
