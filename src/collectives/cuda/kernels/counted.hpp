#pragma once

// Calls whose counts lie on the device.

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

Status load_counted_kernels();

/// Requires: KernelCall::device_counts.
Status launch_counted(const KernelCall& call);

/// One for each file of instances; null where it has no such kernel. `members`: 2, 8 or 64.
const void* find_counted_sum(DType dtype, int members);
const void* find_counted_order(DType dtype, int members);
const void* find_counted_move(int members);

}  // namespace cohort::cuda
