#pragma once

// What launches of all kernels share.

#include <cstdint>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// Whether a call fits its channel and its grid: `usage` and what does not, else ok. Of kernels
/// whose threads loop over their lines, `loops`, the grid need not cover the operands.
Status check_call(const KernelCall& call, bool loops);

/// Puts a kernel into the call's stream. Where the device can and `limit_early_kernels` lets it, it
/// is brought onto the device before the one ahead has ended, so it must begin by waiting for that.
/// Kernels that send to blocks of their cluster name its blocks, which needs `has_clusters`: even
/// where that is one they are illegal without.
Status launch_kernel(const void* kernel, const KernelCall& call, void** parameters,
                     std::uint32_t cluster_blocks = 0);

/// On the current device no kernel of more threads is brought early from now on. Only lowers what
/// was said before.
Status limit_early_kernels(std::uint32_t threads);

/// Whether blocks of the current device can store into each other's shared memory.
Status has_clusters(bool* has);

/// Loads a kernel onto the current device, so that it is not loaded behind running kernels.
Status load_kernel(const void* kernel);

}  // namespace cohort::cuda
