#pragma once

// What a kernel is made for: who gets what, and what becomes of it.

#include <cstdint>

#include "collectives/cuda/kernels/numbers.cuh"

namespace cohort::cuda {

enum class Shape : std::uint8_t {
  all_reduce,      ///< all peers get the same, which is reduced
  reduce_scatter,  ///< each peer gets its own part, which is reduced
  gather,          ///< all peers get the same: all_gather(v), broadcast, barrier
  exchange,        ///< each peer gets its own part: all_to_all(v)
  two_shot,        ///< reduce_scatter, then a gather of the results
};

/// The arithmetic of what is only moved.
template <int W>
struct Bytes {
  static constexpr bool kHoldsSentinel = true;
  struct Sum {};
  __device__ Bytes(DType /*dtype*/, ReduceOp /*op*/) {}
  __device__ std::uint32_t invalid() const { return kInvalidBytes; }
  __device__ Words<W> sendable(const Words<W>& words) const { return words; }
};

template <int W>
using SumBf16 = SumPairs<Bf16, W>;
template <int W>
using SumF16 = SumPairs<F16, W>;

}  // namespace cohort::cuda
