#pragma once

// How elements are combined, a thread's words at a time. The same bits as src/base and the host's
// reductions: sums in f32 by group rank, rounded once, ties to even; minima and maxima carry NaN
// and order -0 before +0; every NaN of a result is the canonical one; integers wrap.
//
// Of each class: `begin` with the first member's words, `add` the others' in order, `end`. What is
// sent goes through `sendable`. kHoldsSentinel: words that are sent may look like "not arrived".

#include <cstdint>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

#include "collectives/cuda/kernels/words.cuh"

namespace cohort::cuda {

inline constexpr std::uint32_t kNanF32 = 0x7fc00000;
inline constexpr std::uint32_t kNanBf16Pair = 0x7fc07fc0;
inline constexpr std::uint32_t kNanF16Pair = 0x7e007e00;
/// What outputs of integers and of moves hold after a fault.
inline constexpr std::uint32_t kInvalidBytes = 0xffffffff;

__device__ __forceinline__ bool is_nan(float a, float b) {
  return isnan(a) | isnan(b);
}

/// Both halves, of a type whose infinity is `infinity`.
__device__ __forceinline__ std::uint32_t canonical_pair(std::uint32_t pair, std::uint32_t infinity,
                                                        std::uint32_t nan_pair) {
  if ((pair & 0x7fffU) > infinity) pair = (pair & 0xffff0000U) | (nan_pair & 0xffffU);
  if ((pair >> 16 & 0x7fffU) > infinity) pair = (pair & 0xffffU) | (nan_pair & 0xffff0000U);
  return pair;
}

/// Of a whole line; kept apart from kernels, as it is seldom needed.
static __device__ __noinline__ uint4 canonical_pairs(uint4 pairs, std::uint32_t infinity,
                                                     std::uint32_t nan_pair) {
  return make_uint4(
      canonical_pair(pairs.x, infinity, nan_pair), canonical_pair(pairs.y, infinity, nan_pair),
      canonical_pair(pairs.z, infinity, nan_pair), canonical_pair(pairs.w, infinity, nan_pair));
}

__device__ __forceinline__ std::uint32_t canonical_f32(std::uint32_t bits) {
  return (bits & 0x7fffffffU) > 0x7f800000U ? kNanF32 : bits;
}

/// The sentinel is a NaN: another one sums, and compares, alike.
template <int W>
__device__ __forceinline__ Words<W> without_sentinel(Words<W> words, std::uint32_t nan) {
#pragma unroll
  for (int k = 0; k < W; ++k) {
    if (words.word[k] == kSentinel) words.word[k] = nan;
  }
  return words;
}

template <int W>
struct SumF32 {
  static constexpr bool kHoldsSentinel = false;
  struct Sum {
    float value[W];
  };

  __device__ SumF32(DType /*dtype*/, ReduceOp /*op*/) {}
  __device__ std::uint32_t invalid() const { return kNanF32; }
  __device__ Words<W> sendable(const Words<W>& words) const {
    return without_sentinel(words, kNanF32);
  }
  __device__ Sum begin(const Words<W>& words) const {
    Sum sum;
#pragma unroll
    for (int k = 0; k < W; ++k) sum.value[k] = __uint_as_float(words.word[k]);
    return sum;
  }
  __device__ void add(Sum& sum, const Words<W>& words) const {
#pragma unroll
    for (int k = 0; k < W; ++k) sum.value[k] += __uint_as_float(words.word[k]);
  }
  __device__ Words<W> end(const Sum& sum) const {
    Words<W> words;
#pragma unroll
    for (int k = 0; k < W; ++k) {
      words.word[k] = isnan(sum.value[k]) ? kNanF32 : __float_as_uint(sum.value[k]);
    }
    return words;
  }
};

/// Two 16-bit floats in a word, the first one below.
struct Bf16 {
  static constexpr std::uint32_t kInfinity = 0x7f80;
  static constexpr std::uint32_t kNanPair = kNanBf16Pair;
  __device__ static float low(std::uint32_t pair) { return __uint_as_float(pair << 16); }
  __device__ static float high(std::uint32_t pair) { return __uint_as_float(pair & 0xffff0000U); }
  __device__ static std::uint32_t pair(float low, float high) {
    std::uint32_t rounded;
    asm("cvt.rn.bf16x2.f32 %0,%1,%2;" : "=r"(rounded) : "f"(high), "f"(low));
    return rounded;
  }
};

struct F16 {
  static constexpr std::uint32_t kInfinity = 0x7c00;
  static constexpr std::uint32_t kNanPair = kNanF16Pair;
  __device__ static float low(std::uint32_t pair) {
    float wide;
    asm("{.reg .b16 a,b; mov.b32 {a,b},%1; cvt.f32.f16 %0,a;}" : "=f"(wide) : "r"(pair));
    return wide;
  }
  __device__ static float high(std::uint32_t pair) {
    float wide;
    asm("{.reg .b16 a,b; mov.b32 {a,b},%1; cvt.f32.f16 %0,b;}" : "=f"(wide) : "r"(pair));
    return wide;
  }
  __device__ static std::uint32_t pair(float low, float high) {
    std::uint32_t rounded;
    asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(rounded) : "f"(high), "f"(low));
    return rounded;
  }
};

template <class T, int W>
struct SumPairs {
  static constexpr bool kHoldsSentinel = false;
  struct Sum {
    float low[W];
    float high[W];
  };

  __device__ SumPairs(DType /*dtype*/, ReduceOp /*op*/) {}
  __device__ std::uint32_t invalid() const { return T::kNanPair; }
  __device__ Words<W> sendable(const Words<W>& words) const {
    return without_sentinel(words, T::kNanPair);
  }
  __device__ Sum begin(const Words<W>& words) const {
    Sum sum;
#pragma unroll
    for (int k = 0; k < W; ++k) {
      sum.low[k] = T::low(words.word[k]);
      sum.high[k] = T::high(words.word[k]);
    }
    return sum;
  }
  __device__ void add(Sum& sum, const Words<W>& words) const {
#pragma unroll
    for (int k = 0; k < W; ++k) {
      sum.low[k] += T::low(words.word[k]);
      sum.high[k] += T::high(words.word[k]);
    }
  }
  __device__ Words<W> end(const Sum& sum) const {
    Words<W> words;
    bool nan = false;
#pragma unroll
    for (int k = 0; k < W; ++k) {
      words.word[k] = T::pair(sum.low[k], sum.high[k]);
      nan |= is_nan(sum.low[k], sum.high[k]);
    }
    if (nan) [[unlikely]] {
      const uint4 fixed = canonical_pairs(
          make_uint4(words.word[0], words.word[1], words.word[W - 2], words.word[W - 1]),
          T::kInfinity, T::kNanPair);
      words.word[0] = fixed.x;
      words.word[1] = fixed.y;
      words.word[W - 2] = fixed.z;
      words.word[W - 1] = fixed.w;
    }
    return words;
  }
};

/// Minima and maxima of every float type; which one is decided as it runs.
template <int W>
struct OrderFloats {
  static constexpr bool kHoldsSentinel = false;
  using Sum = Words<W>;

  __device__ OrderFloats(DType dtype, ReduceOp op) : dtype_(dtype), is_min_(op == ReduceOp::min) {}
  __device__ std::uint32_t invalid() const {
    if (dtype_ == DType::f32) return kNanF32;
    return dtype_ == DType::bf16 ? kNanBf16Pair : kNanF16Pair;
  }
  __device__ Words<W> sendable(const Words<W>& words) const {
    return without_sentinel(words, invalid());
  }
  __device__ Sum begin(const Words<W>& words) const { return words; }
  __device__ void add(Sum& sum, const Words<W>& words) const {
#pragma unroll
    for (int k = 0; k < W; ++k) sum.word[k] = combine(sum.word[k], words.word[k]);
  }
  __device__ Words<W> end(const Sum& sum) const {
    Words<W> words;
#pragma unroll
    for (int k = 0; k < W; ++k) {
      words.word[k] = dtype_ == DType::f32 ? canonical_f32(sum.word[k])
                      : dtype_ == DType::bf16
                          ? canonical_pair(sum.word[k], Bf16::kInfinity, Bf16::kNanPair)
                          : canonical_pair(sum.word[k], F16::kInfinity, F16::kNanPair);
    }
    return words;
  }

 private:
  // .NaN: one NaN makes the result NaN. These keep denormals and order -0 before +0.
  __device__ std::uint32_t combine(std::uint32_t a, std::uint32_t b) const {
    std::uint32_t result;
    if (dtype_ == DType::f32) {
      if (is_min_) {
        asm("min.NaN.f32 %0,%1,%2;" : "=r"(result) : "r"(a), "r"(b));
      } else {
        asm("max.NaN.f32 %0,%1,%2;" : "=r"(result) : "r"(a), "r"(b));
      }
    } else if (dtype_ == DType::bf16) {
      if (is_min_) {
        asm("min.NaN.bf16x2 %0,%1,%2;" : "=r"(result) : "r"(a), "r"(b));
      } else {
        asm("max.NaN.bf16x2 %0,%1,%2;" : "=r"(result) : "r"(a), "r"(b));
      }
    } else if (is_min_) {
      asm("min.NaN.f16x2 %0,%1,%2;" : "=r"(result) : "r"(a), "r"(b));
    } else {
      asm("max.NaN.f16x2 %0,%1,%2;" : "=r"(result) : "r"(a), "r"(b));
    }
    return result;
  }

  DType dtype_;
  bool is_min_;
};

/// Sums, minima and maxima of i32, i64 and u8; which one is decided as it runs.
template <int W>
struct CombineIntegers {
  static constexpr bool kHoldsSentinel = true;
  using Sum = Words<W>;

  __device__ CombineIntegers(DType dtype, ReduceOp op) : dtype_(dtype), op_(op) {}
  __device__ std::uint32_t invalid() const { return kInvalidBytes; }
  __device__ Words<W> sendable(const Words<W>& words) const { return words; }
  __device__ Sum begin(const Words<W>& words) const { return words; }
  __device__ void add(Sum& sum, const Words<W>& words) const {
    if (dtype_ == DType::i64) return add_longs(sum, words);
#pragma unroll
    for (int k = 0; k < W; ++k) {
      sum.word[k] = dtype_ == DType::u8 ? combine_bytes(sum.word[k], words.word[k])
                                        : combine_words(sum.word[k], words.word[k]);
    }
  }
  __device__ Words<W> end(const Sum& sum) const {
    return sum;
  }

 private:
  __device__ std::uint32_t combine_words(std::uint32_t a, std::uint32_t b) const {
    if (op_ == ReduceOp::sum) return a + b;
    const bool a_first = static_cast<std::int32_t>(a) < static_cast<std::int32_t>(b);
    return a_first == (op_ == ReduceOp::min) ? a : b;
  }
  __device__ std::uint32_t combine_bytes(std::uint32_t a, std::uint32_t b) const {
    if (op_ == ReduceOp::sum) return __vadd4(a, b);
    return op_ == ReduceOp::min ? __vminu4(a, b) : __vmaxu4(a, b);
  }
  __device__ void add_longs(Sum& sum, const Words<W>& words) const {
#pragma unroll
    for (int k = 0; k < W; k += 2) {
      const std::uint64_t a = std::uint64_t{sum.word[k + 1]} << 32 | sum.word[k];
      const std::uint64_t b = std::uint64_t{words.word[k + 1]} << 32 | words.word[k];
      const bool a_first = static_cast<std::int64_t>(a) < static_cast<std::int64_t>(b);
      const std::uint64_t result = op_ == ReduceOp::sum                ? a + b
                                   : a_first == (op_ == ReduceOp::min) ? a
                                                                       : b;
      sum.word[k] = static_cast<std::uint32_t>(result);
      sum.word[k + 1] = static_cast<std::uint32_t>(result >> 32);
    }
  }

  DType dtype_;
  ReduceOp op_;
};

}  // namespace cohort::cuda
