#pragma once

// The reduction of a group of one rank: its operand, with canonical NaN.

#include <cstdint>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// Loads the kernels onto the current device.
Status load_reduce_alone();

/// See Api::reduce_alone; the current device is that of the stream.
Status launch_reduce_alone(Address to, Address from, std::uint64_t elements, DType dtype,
                           StreamHandle stream);

}  // namespace cohort::cuda
