#pragma once

#include <cstdint>

#include <cohort/dtype.hpp>

#include "base/bf16.hpp"

namespace cohort {

/// A bfloat16 as stored; arithmetic is done in f32. Trivial, so that large arrays of it can be left
/// untouched.
struct Bf16 {
  std::uint16_t bits;
};

inline float to_f32(float value) noexcept {
  return value;
}
inline float to_f32(Bf16 value) noexcept {
  return f32_from_bf16(value.bits);
}

/// Rounds once, ties to even. Local.
template <typename T>
T from_f32(float value) noexcept;
template <>
inline float from_f32<float>(float value) noexcept {
  return value;
}
template <>
inline Bf16 from_f32<Bf16>(float value) noexcept {
  return Bf16{bf16_from_f32(value)};
}

/// The DType of a C++ element type.
template <typename T>
inline constexpr DType kDTypeOf = DType::f32;
template <>
inline constexpr DType kDTypeOf<Bf16> = DType::bf16;

}  // namespace cohort
