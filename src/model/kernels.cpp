// Element-wise parts of a decoder, compiled once per instruction set and picked at run time.

#include "model/kernels.hpp"

#include <cmath>

#include "model/parallel.hpp"

// The kernels know an upper bound of their lanes at compile time, which vectors of unknown length
// do not allow.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE_256 | HWY_SVE2 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/element-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cohort::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Calls body(d, i) for whole vectors of f32 and then for single lanes.
template <class Body>
HWY_INLINE void for_lanes(std::size_t count, const Body& body) {
  const HWY_FULL(float) d;
  const HWY_CAPPED(float, 1) one;
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) body(d, i);
  for (; i < count; ++i) body(one, i);
}

template <typename T>
HWY_INLINE float sum_of_squares(const T* x, std::size_t width) {
  const HWY_FULL(float) d;
  auto sum = hn::Zero(d);
  float rest = 0;
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= width; i += hn::Lanes(d)) {
    const auto value = load_f32(d, x + i);
    sum = hn::MulAdd(value, value, sum);
  }
  const HWY_CAPPED(float, 1) one;
  for (; i < width; ++i) {
    const float value = hn::GetLane(load_f32(one, x + i));
    rest += value * value;
  }
  return hn::GetLane(hn::SumOfLanes(d, sum)) + rest;
}

template <typename T>
HWY_INLINE void normalize(const T* x, float factor, const float* weight, std::size_t width, T* y) {
  for_lanes(width, [&](auto d, std::size_t i) HWY_ATTR {
    const auto value = hn::Mul(load_f32(d, x + i), hn::Set(d, factor));
    store_f32(d, hn::Mul(value, load_f32(d, weight + i)), y + i);
  });
}

template <typename T>
HWY_INLINE void add(T* sum, const T* x, std::size_t count) {
  for_lanes(count, [&](auto d, std::size_t i) HWY_ATTR {
    store_f32(d, hn::Add(load_f32(d, sum + i), load_f32(d, x + i)), sum + i);
  });
}

template <typename T>
HWY_INLINE void silu(const T* gate, const T* up, std::size_t width, T* y) {
  for_lanes(width, [&](auto d, std::size_t i) HWY_ATTR {
    const auto x = load_f32(d, gate + i);
    // Beyond this the result is 0 or x to the last bit, and exp stays finite.
    const auto bounded = hn::Min(hn::Max(x, hn::Set(d, -87.0f)), hn::Set(d, 87.0f));
    const auto sigmoid =
        hn::Div(hn::Set(d, 1.0f), hn::Add(hn::Set(d, 1.0f), hn::Exp(d, hn::Neg(bounded))));
    store_f32(d, hn::Mul(hn::Mul(x, sigmoid), load_f32(d, up + i)), y + i);
  });
}

float SquaresF32(const float* x, std::size_t n) {
  return sum_of_squares(x, n);
}
float SquaresBf16(const Bf16* x, std::size_t n) {
  return sum_of_squares(x, n);
}
void NormF32(const float* x, float f, const float* w, std::size_t n, float* y) {
  normalize(x, f, w, n, y);
}
void NormBf16(const Bf16* x, float f, const float* w, std::size_t n, Bf16* y) {
  normalize(x, f, w, n, y);
}
void AddF32(float* sum, const float* x, std::size_t n) {
  add(sum, x, n);
}
void AddBf16(Bf16* sum, const Bf16* x, std::size_t n) {
  add(sum, x, n);
}
void SiluF32(const float* g, const float* u, std::size_t n, float* y) {
  silu(g, u, n, y);
}
void SiluBf16(const Bf16* g, const Bf16* u, std::size_t n, Bf16* y) {
  silu(g, u, n, y);
}

}  // namespace cohort::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cohort {

HWY_EXPORT(SquaresF32);
HWY_EXPORT(SquaresBf16);
HWY_EXPORT(NormF32);
HWY_EXPORT(NormBf16);
HWY_EXPORT(AddF32);
HWY_EXPORT(AddBf16);
HWY_EXPORT(SiluF32);
HWY_EXPORT(SiluBf16);

namespace {

float squares(const float* x, std::size_t n) {
  return HWY_DYNAMIC_DISPATCH(SquaresF32)(x, n);
}
float squares(const Bf16* x, std::size_t n) {
  return HWY_DYNAMIC_DISPATCH(SquaresBf16)(x, n);
}
void norm(const float* x, float f, const float* w, std::size_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(NormF32)(x, f, w, n, y);
}
void norm(const Bf16* x, float f, const float* w, std::size_t n, Bf16* y) {
  HWY_DYNAMIC_DISPATCH(NormBf16)(x, f, w, n, y);
}
void silu_row(const float* row, std::size_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(SiluF32)(row, row + n, n, y);
}
void silu_row(const Bf16* row, std::size_t n, Bf16* y) {
  HWY_DYNAMIC_DISPATCH(SiluBf16)(row, row + n, n, y);
}

}  // namespace

template <typename T>
void rms_norm(const T* x, std::size_t row_count, std::span<const float> weight, float epsilon,
              T* y) {
  const std::size_t width = weight.size();
  for (std::size_t row = 0; row < row_count; ++row) {
    const float mean = squares(x + row * width, width) / static_cast<float>(width);
    const float factor = 1.0f / std::sqrt(mean + epsilon);
    norm(x + row * width, factor, weight.data(), width, y + row * width);
  }
}

template <>
void add_to<float>(float* sum, const float* x, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(AddF32)(sum, x, count);
}
template <>
void add_to<Bf16>(Bf16* sum, const Bf16* x, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(AddBf16)(sum, x, count);
}

template <typename T>
void silu_multiply(const T* gate_up, std::size_t row_count, std::size_t width, T* y) {
  parallel_for(row_count, [&](std::size_t row) {
    silu_row(gate_up + row * 2 * width, width, y + row * width);
  });
}

template void rms_norm<float>(const float*, std::size_t, std::span<const float>, float, float*);
template void rms_norm<Bf16>(const Bf16*, std::size_t, std::span<const float>, float, Bf16*);
template void silu_multiply<float>(const float*, std::size_t, std::size_t, float*);
template void silu_multiply<Bf16>(const Bf16*, std::size_t, std::size_t, Bf16*);

}  // namespace cohort
#endif  // HWY_ONCE
