#pragma once

// The kernels for large operands, Algorithm::split.

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// Loads them onto the current device.
Status load_split_kernels();

/// Puts a call into its stream. Blocks have a multiple of 128 threads.
Status launch_split(const KernelCall& call);

/// What a call needs of its kernel.
struct SplitKey {
  Op op;
  ReduceOp reduce_op;
  DType dtype;
  std::uint32_t lines_per_thread;
  int members;  ///< 2, 8 or 64: as many as the kernel's arguments have room for
};
/// One for each file of instances; null where it has no such kernel.
const void* find_split_sum(const SplitKey& key);
const void* find_split_order(const SplitKey& key);
const void* find_split_move(const SplitKey& key);

}  // namespace cohort::cuda
