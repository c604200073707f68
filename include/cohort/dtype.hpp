#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <cohort/export.hpp>

namespace cohort {

/// Element types that collectives move and reduce.
enum class DType : std::uint8_t {
  f32,
  bf16,
  i32,
  i64,
  f16,     ///< IEEE binary16
  u8,      ///< unsigned
  f8e4m3,  ///< bytes of an 8-bit float: moved, never reduced
};
inline constexpr std::size_t kDTypeCount = 7;

/// Bytes of one element.
constexpr std::size_t bytes_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::u8:
    case DType::f8e4m3: return 1;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::f32:
    case DType::i32: return 4;
    case DType::i64: return 8;
  }
  return 0;
}

/// Whether sum, min and max are defined for it; others are only moved.
constexpr bool is_reducible(DType dtype) noexcept {
  return dtype != DType::f8e4m3;
}

/// Every type, in order.
constexpr std::array<DType, kDTypeCount> all_dtypes() noexcept {
  return {DType::f32, DType::bf16, DType::i32, DType::i64, DType::f16, DType::u8, DType::f8e4m3};
}

/// The type's stable spelling, e.g. "bf16".
COHORT_EXPORT std::string_view to_string(DType dtype) noexcept;

}  // namespace cohort
