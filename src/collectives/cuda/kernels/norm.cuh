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

/// The threads of one block, who take a row together.
class BlockTeam {
 public:
  explicit __device__ BlockTeam(NormShared& shared) : shared_(shared) {}

  /// Of a thread's line in the row.
  __device__ std::uint32_t index(int line) const { return threadIdx.x + line * blockDim.x; }
  __device__ float sum(float value, std::uint32_t turn) {
    return sum_of_block(value, shared_.sums[turn]);
  }
  __device__ float largest(std::uint32_t magnitude, std::uint32_t turn) {
    return largest_of_block(magnitude, shared_.largest[turn]);
  }

 private:
  NormShared& shared_;
};

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

/// Halves by halves, rounded once.
__device__ inline std::uint32_t add_pairs(Bf16 /*type*/, std::uint32_t left, std::uint32_t right) {
  constexpr std::uint32_t kOnes = 0x3f803f80;
  std::uint32_t sum;
  asm("fma.rn.bf16x2 %0,%1,%2,%3;" : "=r"(sum) : "r"(left), "r"(kOnes), "r"(right));
  return sum;
}
__device__ inline std::uint32_t add_pairs(F16 /*type*/, std::uint32_t left, std::uint32_t right) {
  std::uint32_t sum;
  asm("add.rn.f16x2 %0,%1,%2;" : "=r"(sum) : "r"(left), "r"(right));
  return sum;
}

/// Rounds once, ties to even: the bits of SumPairs in a third of the instructions. A sum in f32 of
/// two such numbers is exact, or one of them is too small to bring the other near a tie.
template <class T>
__device__ Line added(const Line& left, const Line& right) {
  // To the bits of an infinity without its sign it adds up to the sign bit less one.
  constexpr std::uint32_t kBelowSign = (0x7fffU - T::kInfinity) * 0x10001U;
  Line sum;
  std::uint32_t signs = 0;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    sum.word[k] = add_pairs(T{}, left.word[k], right.word[k]);
    signs |= (sum.word[k] & 0x7fff7fffU) + kBelowSign;
  }
  if ((signs & 0x80008000U) != 0) [[unlikely]] {  // a NaN
    const uint4 fixed = canonical_pairs(
        make_uint4(sum.word[0], sum.word[1], sum.word[2], sum.word[3]), T::kInfinity, T::kNanPair);
    sum = {fixed.x, fixed.y, fixed.z, fixed.w};
  }
  return sum;
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

/// A row of a thread's lines. `kLines` is NormShape::lines_per_thread, `Team` who takes the row.
template <class Team, int kLines>
struct NormRow {
  Line lines[kLines];

  __device__ void load(const Team& team, const Line* row, std::uint32_t count) {
#pragma unroll
    for (int line = 0; line < kLines; ++line) {
      lines[line] = team.index(line) < count ? row[team.index(line)] : Line{};
    }
  }
};

/// Stores a normed row in the output's form. All threads of the team come.
template <class T, class Team, int kLines>
__device__ void store_normed(const NormArgs& args, std::uint64_t row, std::uint32_t turn,
                             const NormRow<Team, kLines>& y, Team& team) {
  const std::uint64_t first = row * args.lines;
  if (args.output == NormOutput::plain) {
#pragma unroll
    for (int line = 0; line < kLines; ++line) {
      const std::uint32_t index = team.index(line);
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
    scale = __fdiv_rn(team.largest(magnitude, turn), kF8Largest);
    if (scale < kF8SmallestScale) scale = kF8SmallestScale;  // false for NaN, which stays
    if (team.index(0) == 0) args.scales[row] = scale;
  }
  const float inverse = __frcp_rn(scale);
#pragma unroll
  for (int line = 0; line < kLines; ++line) {
    const std::uint32_t index = team.index(line);
    if (index >= args.lines) continue;
    static_cast<Words<2>*>(args.normed)[first + index] = f8_line<T>(y.lines[line], inverse);
  }
}

/// Norms a row, of which each thread brings its lines of x and of the residual. All threads of the
/// team come. `turn` is 0 and 1 by turns for the rows of a team.
template <class T, class Team, int kLines>
__device__ void norm_row(const NormArgs& args, std::uint64_t row, std::uint32_t turn,
                         NormRow<Team, kLines> x, const NormRow<Team, kLines>& residual,
                         const NormRow<Team, kLines>& weight, Team& team) {
  float partial = 0.0F;
#pragma unroll
  for (int line = 0; line < kLines; ++line) {
    const std::uint32_t index = team.index(line);
    x.lines[line] = added<T>(x.lines[line], residual.lines[line]);
    partial = squares<T>(partial, x.lines[line]);
    if (index < args.lines) args.residual_out[row * args.lines + index] = x.lines[line];
  }
  const float total = team.sum(partial, turn);
  const float inverse = __frsqrt_rn(__fdiv_rn(total, args.elements) + args.epsilon);
#pragma unroll
  for (int line = 0; line < kLines; ++line) {
    x.lines[line] = scaled<T>(x.lines[line], weight.lines[line], inverse);
  }
  store_normed<T>(args, row, turn, x, team);
}

}  // namespace cohort::cuda
