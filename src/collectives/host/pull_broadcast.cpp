#include <algorithm>
#include <cstring>

#include "collectives/host/algorithms.hpp"
#include "collectives/host/copy.hpp"

namespace cohort::host {
namespace {

/// So that the pieces of a call can be counted.
std::size_t piece_bytes(std::size_t bytes) noexcept {
  return std::max(kPieceBytes, bytes / (Exchange::kPieceCountMax - 1) + 1);
}

}  // namespace

void pull_broadcast(Exchange& exchange) {
  const collectives::Call& call = exchange.call();
  const std::uint32_t root = call.root.index();
  const std::size_t bytes = call.output.elements * exchange.element_bytes();
  // The root's header first: its operand can be read while the others are still on their way.
  if (exchange.self() != root && exchange.arrive(root) && bytes != 0) {
    copy_bytes(static_cast<std::byte*>(call.output.data), exchange.operand(root, 0, bytes), bytes);
  }
  exchange.arrive_all();
}

// All headers first: a member that refuses relays nothing, so nobody may wait for it.
void relay_broadcast(Exchange& exchange, std::uint32_t parent, std::byte* relay) {
  const collectives::Call& call = exchange.call();
  const std::uint32_t root = call.root.index();
  if (!exchange.arrive_all() || exchange.self() == root) return;
  const std::size_t bytes = call.output.elements * exchange.element_bytes();
  const std::size_t step = piece_bytes(bytes);
  auto* output = static_cast<std::byte*>(call.output.data);
  std::uint64_t piece = 0;
  for (std::size_t begin = 0; begin < bytes; begin += step) {
    const std::size_t count = std::min(step, bytes - begin);
    ++piece;
    if (parent != root) exchange.await_piece(parent, piece);
    const std::byte* const from = parent == root ? exchange.operand(root, begin, count)
                                                 : exchange.result(parent, begin, count);
    std::memcpy(output + begin, from, count);
    if (relay == nullptr) continue;
    if (relay != output) std::memcpy(relay + begin, output + begin, count);
    exchange.publish_piece(piece);
  }
}

}  // namespace cohort::host
