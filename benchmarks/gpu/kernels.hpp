#pragma once

// The benchmark's own kernels: operands that every rank can work out, the check of results in
// double, the bounds of the hardware, and the residual-and-norm that follows a peer's all_reduce.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "point.hpp"

namespace cohort::gpu_bench {

/// Throws: std::runtime_error naming `what` if a CUDA call failed.
void require(cudaError_t result, const char* what);

/// Elements [begin, begin + count) of rank `rank`'s data, in [-1, 1).
void fill(DType dtype, void* data, std::uint64_t begin, std::uint64_t count, std::uint32_t rank,
          std::uint32_t seed, cudaStream_t stream);

struct Expected {
  Operation operation;
  DType dtype;
  std::uint32_t rank;
  std::uint32_t ranks;
  std::uint32_t seed;
  Shares shares;
};
/// Adds to `*wrong` the elements of `result` that differ from the right ones by more than the
/// roundings of one addition for each rank allow. A NaN is always wrong.
void check(const Expected& expected, const void* result, std::uint64_t* wrong, cudaStream_t stream);
/// Adds to `*wrong` the bytes that are not `byte`.
void check_bytes(const void* data, std::uint64_t bytes, std::uint8_t byte, std::uint64_t* wrong,
                 cudaStream_t stream);

/// residual += sum; normed = residual / rms(residual) * weight. Rows of kHidden, bf16. As the
/// other kernels of an engine it starts when the one before has ended.
struct Norm {
  const void* sum;
  const void* residual_in;
  void* residual_out;
  const void* weight;
  void* normed;
  std::uint32_t rows;
};
void add_norm(const Norm& norm, cudaStream_t stream);
/// What fills `residual_in` and `weight` for check(all_reduce_norm).
inline constexpr std::uint32_t kResidualRank = 100;
inline constexpr std::uint32_t kWeightRank = 101;

/// Bounds of the hardware, none of them a collective. `push` stores to a peer and waits for no
/// answer; its nodes of a graph overlap as far as programmatic edges let them.
void push(void* to, const void* from, std::uint64_t bytes, cudaStream_t stream);
void empty(cudaStream_t stream);
/// One flag to the next rank and one from the rank before, of two ranks the peer: the least
/// exchange. `words`: {sequence, failed} of this rank; gives up after a second.
void exchange_flags(std::uint32_t* mine, std::uint32_t* peers, std::uint32_t* words,
                    cudaStream_t stream);

}  // namespace cohort::gpu_bench
