#include <cstring>

#include "collectives/host/algorithms.hpp"

namespace cohort::host {

void pull_broadcast(Exchange& exchange) {
  const collectives::Call& call = exchange.call();
  const std::uint32_t root = call.root.index();
  const std::size_t bytes = call.output.elements * exchange.element_bytes();
  // The root's header first: its operand can be read while the others are still on their way.
  if (exchange.self() != root && exchange.arrive(root) && bytes != 0) {
    std::memcpy(call.output.data, exchange.operand(root, 0, bytes), bytes);
  }
  exchange.arrive_all();
}

}  // namespace cohort::host
