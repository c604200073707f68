#pragma once

// RMSNorm of one row by one thread block, shared by the kernel that does only this and by those
// that do it behind a collective: the same instructions in the same order, so the same bits.

#include <cuda_fp8.h>

#include <cstdint>

#include "backend/cuda/abi.hpp"
#include "collectives/cuda/kernels/numbers.cuh"
#include "collectives/cuda/norm_shape.hpp"

namespace cohort::cuda {

struct NormArgs {
  const Line* residual;
  const Line* weight;
  Line* residual_out;
  void* normed;
  float* scales;
  float elements;  ///< of a row
  float epsilon;
  std::uint32_t lines;  ///< of a row
  NormOutput output;
};

/// A norm as kernels read it.
inline NormArgs make_norm_args(const Norm& norm) {
  NormArgs args{};
  args.residual = reinterpret_cast<const Line*>(norm.residual);
  args.weight = reinterpret_cast<const Line*>(norm.weight);
  args.residual_out = reinterpret_cast<Line*>(norm.residual_out);
  args.normed = reinterpret_cast<void*>(norm.normed);
  args.scales = reinterpret_cast<float*>(norm.scales);
  args.elements = static_cast<float>(norm.hidden);
  args.epsilon = norm.epsilon;
  args.lines = norm_shape(norm.hidden).lines;
  args.output = norm.output;
  return args;
}

inline constexpr float kF8Largest = 448.0F;
/// Keeps the inverse of a scale finite: rows of zeros and of denormals become zeros.
inline constexpr float kF8SmallestScale = 0x1p-126F;
inline constexpr std::uint32_t kF8NanWord = 0x7f7f7f7f;

/// Partial results of a block's warps. Two of each, used by rows in turn: whoever writes those of
/// the next row but one has passed the next row's barrier, behind everybody's reads of this one.
struct NormShared {
  float sums[2][kNormThreadsMax / 32];
  std::uint32_t largest[2][kNormThreadsMax / 32];
};

__device__ inline float sum_of_warp(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xFFFFFFFF, value, distance);
  }
  return value;
}

/// Equal in all threads. A barrier for the block.
__device__ inline float sum_of_block(float value, float* slots) {
  const std::uint32_t lane = threadIdx.x % 32;
  value = sum_of_warp(value);
  if (lane == 0) slots[threadIdx.x / 32] = value;
  __syncthreads();
  return sum_of_warp(lane < blockDim.x / 32 ? slots[lane] : 0.0F);
}

/// Of the bits of floats without their sign, where NaN is the largest. A barrier for the block.
__device__ inline float largest_of_block(std::uint32_t magnitude, std::uint32_t* slots) {
  const std::uint32_t lane = threadIdx.x % 32;
  magnitude = __reduce_max_sync(0xFFFFFFFF, magnitude);
  if (lane == 0) slots[threadIdx.x / 32] = magnitude;
  __syncthreads();
  const std::uint32_t part = lane < blockDim.x / 32 ? slots[lane] : 0;
  return __uint_as_float(__reduce_max_sync(0xFFFFFFFF, part));
}

/// Rounds to the nearest, ties to even; beyond 448 is 448; NaN stays NaN. The first in the low
/// byte.
__device__ inline std::uint32_t f8_pair(float first, float second) {
  return __nv_cvt_float2_to_fp8x2(make_float2(first, second), __NV_SATFINITE, __NV_E4M3);
}

/// 8 elements as 8 bytes.
template <class T>
__device__ Words<2> f8_line(const Line& line, float inverse_scale) {
  std::uint32_t pairs[4];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    pairs[k] = f8_pair(T::low(line.word[k]) * inverse_scale, T::high(line.word[k]) * inverse_scale);
  }
  return {pairs[0] | pairs[1] << 16, pairs[2] | pairs[3] << 16};
}

/// Rounds once, ties to even.
template <class T>
__device__ Line added(const Line& left, const Line& right) {
  const SumPairs<T, 4> adder(DType::bf16, ReduceOp::sum);
  auto sum = adder.begin(left);
  adder.add(sum, right);
  return adder.end(sum);
}

/// The sum of the squares behind `sum`, element by element.
template <class T>
__device__ float squares(float sum, const Line& line) {
#pragma unroll
  for (const std::uint32_t word : line.word) {
    sum = __fmaf_rn(T::low(word), T::low(word), sum);
    sum = __fmaf_rn(T::high(word), T::high(word), sum);
  }
  return sum;
}

template <class T>
__device__ Line scaled(const Line& line, const Line& weight, float inverse) {
  Line result;
  bool nan = false;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const float low = T::low(line.word[k]) * inverse * T::low(weight.word[k]);
    const float high = T::high(line.word[k]) * inverse * T::high(weight.word[k]);
    result.word[k] = T::pair(low, high);
    nan |= is_nan(low, high);
  }
  if (nan) {
#pragma unroll
    for (std::uint32_t& word : result.word) {
      word = canonical_pair(word, T::kInfinity, T::kNanPair);
    }
  }
  return result;
}

/// The bits of the largest magnitude, NaN being the largest.
template <class T>
__device__ std::uint32_t largest_magnitude(std::uint32_t so_far, const Line& line) {
#pragma unroll
  for (const std::uint32_t word : line.word) {
    so_far = max(so_far, __float_as_uint(T::low(word)) & 0x7FFFFFFF);
    so_far = max(so_far, __float_as_uint(T::high(word)) & 0x7FFFFFFF);
  }
  return so_far;
}

/// A row of a thread's lines. `kLines` is NormShape::lines_per_thread.
template <class T, int kLines>
struct NormRow {
  Line lines[kLines];

  static __device__ std::uint32_t index(int line) { return threadIdx.x + line * blockDim.x; }

  __device__ void load(const Line* row, std::uint32_t count) {
#pragma unroll
    for (int line = 0; line < kLines; ++line) {
      lines[line] = index(line) < count ? row[index(line)] : Line{};
    }
  }
};

/// Stores a normed row in the output's form. All threads of the block come.
template <class T, int kLines>
__device__ void store_normed(const NormArgs& args, std::uint64_t row, std::uint32_t turn,
                             const NormRow<T, kLines>& y, NormShared& shared) {
  const std::uint64_t first = row * args.lines;
  if (args.output == NormOutput::plain) {
#pragma unroll
    for (int line = 0; line < kLines; ++line) {
      const std::uint32_t index = y.index(line);
      if (index < args.lines) static_cast<Line*>(args.normed)[first + index] = y.lines[line];
    }
    return;
  }
  float scale = 0.0F;
  if (args.output == NormOutput::f8_by_scale) {
    scale = *args.scales;
  } else {
    std::uint32_t magnitude = 0;
#pragma unroll
    for (int line = 0; line < kLines; ++line) {
      magnitude = largest_magnitude<T>(magnitude, y.lines[line]);
    }
    scale = __fdiv_rn(largest_of_block(magnitude, shared.largest[turn]), kF8Largest);
    if (scale < kF8SmallestScale) scale = kF8SmallestScale;  // false for NaN, which stays
    if (threadIdx.x == 0) args.scales[row] = scale;
  }
  const float inverse = __frcp_rn(scale);
#pragma unroll
  for (int line = 0; line < kLines; ++line) {
    const std::uint32_t index = y.index(line);
    if (index >= args.lines) continue;
    static_cast<Words<2>*>(args.normed)[first + index] = f8_line<T>(y.lines[line], inverse);
  }
}

/// Norms a row, of which each thread brings its lines of x and of the residual. All threads of the
/// block come. `turn` is 0 and 1 by turns for the rows of a block.
template <class T, int kLines>
__device__ void norm_row(const NormArgs& args, std::uint64_t row, std::uint32_t turn,
                         NormRow<T, kLines> x, const NormRow<T, kLines>& residual,
                         const NormRow<T, kLines>& weight, NormShared& shared) {
  float partial = 0.0F;
#pragma unroll
  for (int line = 0; line < kLines; ++line) {
    const std::uint32_t index = x.index(line);
    x.lines[line] = added<T>(x.lines[line], residual.lines[line]);
    partial = squares<T>(partial, x.lines[line]);
    if (index < args.lines) args.residual_out[row * args.lines + index] = x.lines[line];
  }
  const float total = sum_of_block(partial, shared.sums[turn]);
  const float inverse = __frsqrt_rn(__fdiv_rn(total, args.elements) + args.epsilon);
#pragma unroll
  for (int line = 0; line < kLines; ++line) {
    x.lines[line] = scaled<T>(x.lines[line], weight.lines[line], inverse);
  }
  store_normed<T, kLines>(args, row, turn, x, shared);
}

}  // namespace cohort::cuda
