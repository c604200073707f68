#include "collectives/call_check.hpp"
#include "collectives/host/algorithms.hpp"
#include "collectives/host/copy.hpp"

namespace cohort::host {

void pull_all_to_all(Exchange& exchange) {
  const collectives::Call& call = exchange.call();
  const std::uint32_t size = exchange.size();
  const std::uint32_t self = exchange.self();
  const std::size_t element = exchange.element_bytes();
  auto* output = static_cast<std::byte*>(call.output.data);
  const auto keep = [&](std::uint32_t member, const std::byte* from, std::size_t bytes) {
    copy_bytes(output + collectives::received_begin(call, size, member, self) * element, from,
               bytes);
  };
  const collectives::Part own = collectives::sent_part(call, size, self, self);
  if (own.count != 0) {
    keep(self, static_cast<const std::byte*>(call.input.data) + own.begin * element,
         own.count * element);
  }
  for (const std::uint32_t member : exchange.channel().pull_order()) {
    if (!exchange.arrive(member)) continue;
    const collectives::Part part = collectives::sent_part(call, size, member, self);
    if (part.count == 0) continue;
    const std::size_t bytes = part.count * element;
    keep(member, exchange.operand(member, part.begin * element, bytes), bytes);
  }
}

}  // namespace cohort::host
