#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <cohort/export.hpp>

namespace cohort {

/// Element types that collectives move and reduce.
enum class DType : std::uint8_t { f32, bf16, i32, i64 };

/// Bytes of one element.
constexpr std::size_t bytes_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::bf16: return 2;
    case DType::f32:
    case DType::i32: return 4;
    case DType::i64: return 8;
  }
  return 0;
}

/// The type's stable spelling, e.g. "bf16".
COHORT_EXPORT std::string_view to_string(DType dtype) noexcept;

}  // namespace cohort
