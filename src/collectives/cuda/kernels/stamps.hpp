#pragma once

// Patterns that tell where in some memory one stands, written and compared by the device itself: at
// the rate of its memory, not of copies to the host.

#include <cstdint>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// Loads both kernels onto the current device.
Status load_stamp_kernels();

/// See Api::stamp and Api::has_stamps. The current device is that of the stream, in which the work
/// is left. `differs` is a word on the device that becomes 1 if there is another byte.
Status launch_stamps(Address memory, std::uint64_t bytes, std::uint64_t stamp, StreamHandle stream);
Status launch_comparison(Address memory, std::uint64_t bytes, std::uint64_t stamp, Address differs,
                         StreamHandle stream);

}  // namespace cohort::cuda
