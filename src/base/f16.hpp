#pragma once

#include <bit>
#include <cstdint>

namespace cohort {

/// The one NaN that arithmetic writes into an f16.
inline constexpr std::uint16_t kCanonicalNanF16 = 0x7e00;

/// Widens exactly: every f16 is an f32, denormals and NaN payloads included. Local.
constexpr float f32_from_f16(std::uint16_t bits) noexcept {
  const std::uint32_t sign = (bits & 0x8000U) << 16U;
  const std::uint32_t magnitude = bits & 0x7fffU;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000U | (magnitude << 13U));
  if (magnitude >= 0x0400) {
    return std::bit_cast<float>(sign | ((magnitude << 13U) + (112U << 23U)));
  }
  if (magnitude == 0) return std::bit_cast<float>(sign);
  // A denormal's first one bit becomes the leading one that a normal number leaves out.
  const auto shift = static_cast<std::uint32_t>(std::countl_zero(magnitude)) - 21U;
  const std::uint32_t fraction = (magnitude << shift) & 0x3ffU;
  return std::bit_cast<float>(sign | ((113U - shift) << 23U) | (fraction << 13U));
}

/// Rounds to the nearest f16, ties to even; denormals are kept, NaN becomes the canonical one.
/// Integers throughout: the caller's floating-point mode does not matter. Local.
constexpr std::uint16_t f16_from_f32(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16U) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return kCanonicalNanF16;
  if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // from 65520 on
  if (magnitude >= 0x38800000U) {
    // Just under half of the last kept bit, plus that bit; a carry steps the exponent.
    const std::uint32_t rounding = 0xfffU + ((magnitude >> 13U) & 1U);
    return static_cast<std::uint16_t>(sign | ((magnitude - (112U << 23U) + rounding) >> 13U));
  }
  // A denormal counts steps of 2^-24: what is shifted out says whether to round up.
  const std::uint32_t shift = 126U - (magnitude >> 23U);
  if (shift > 24) return static_cast<std::uint16_t>(sign);
  const std::uint32_t significand = (magnitude & 0x7fffffU) | 0x800000U;
  const std::uint32_t rounding = (1U << (shift - 1U)) - 1U + ((significand >> shift) & 1U);
  return static_cast<std::uint16_t>(sign | ((significand + rounding) >> shift));
}

}  // namespace cohort
