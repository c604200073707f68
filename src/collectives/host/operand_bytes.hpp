#pragma once

// How much of a call's operands there is, and who reads it.

#include <cstddef>
#include <cstdint>

#include "collectives/call.hpp"

namespace cohort::host {

inline std::size_t input_bytes(const collectives::Call& call) noexcept {
  return call.input.elements * bytes_of(call.dtype);
}

inline std::size_t output_bytes(const collectives::Call& call) noexcept {
  return call.output.elements * bytes_of(call.dtype);
}

/// Only these are read by peers: every operand but a broadcast's on ranks that are not its root.
inline bool peers_read_input(const collectives::Call& call, std::uint32_t self) noexcept {
  return call.op != Op::barrier && (call.op != Op::broadcast || call.root.index() == self);
}

}  // namespace cohort::host
