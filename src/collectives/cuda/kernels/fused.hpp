#pragma once

// Collectives with a norm behind them, and the norm alone.

#include <cstdint>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// Loads these kernels onto the current device.
Status load_fused_kernels();

/// Puts a call into its stream. Threads and lines a thread are those of norm_shape.
Status launch_fused(const FusedCall& call);

/// Norms `rows` rows of `input`.
Status launch_norm(const Norm& norm, Address input, std::uint64_t rows, StreamHandle stream);

/// `usage` and what is wrong with the sizes and addresses of a norm, else ok.
Status check_norm(const Norm& norm);

/// What a fused call needs of its kernel.
struct FusedKey {
  bool scatters;
  std::uint32_t lines_per_thread;
  int members;   ///< 2, 8 or 64
  bool is_pair;  ///< for two members, by teams of blocks
};
/// Null where there is no such kernel.
const void* find_fused_bf16(const FusedKey& key);
const void* find_fused_f16(const FusedKey& key);

}  // namespace cohort::cuda
