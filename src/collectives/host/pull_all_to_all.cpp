#include <cstring>

#include "collectives/call_check.hpp"
#include "collectives/host/algorithms.hpp"

namespace cohort::host {

void pull_all_to_all(Exchange& exchange) {
  const collectives::Call& call = exchange.call();
  const std::uint32_t size = exchange.size();
  const std::uint32_t self = exchange.self();
  const std::size_t element = exchange.element_bytes();
  auto* output = static_cast<std::byte*>(call.output.data);
  for (std::uint32_t step = 0; step < size; ++step) {
    const std::uint32_t member = (self + step) % size;
    if (step != 0 && !exchange.arrive(member)) continue;
    const collectives::Part part = collectives::sent_part(call, size, member, self);
    if (part.count == 0) continue;
    const std::byte* from =
        step == 0 ? static_cast<const std::byte*>(call.input.data) + part.begin * element
                  : exchange.operand(member, part.begin * element, part.count * element);
    std::memcpy(output + collectives::received_begin(call, size, member, self) * element, from,
                part.count * element);
  }
}

}  // namespace cohort::host
