#pragma once

#include <bit>
#include <cstdint>

namespace cohort {

/// The one NaN that arithmetic writes, so that results have the same bits everywhere.
inline constexpr std::uint32_t kCanonicalNanF32 = 0x7fc00000;
inline constexpr std::uint16_t kCanonicalNanBf16 = 0x7fc0;

/// Widens exactly: every bf16 is an f32 with 16 zero bits below, NaN payloads included. Local.
constexpr float f32_from_bf16(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Rounds to the nearest bf16, ties to even; denormals are kept, NaN becomes the canonical one.
/// Local.
constexpr std::uint16_t bf16_from_f32(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return kCanonicalNanBf16;
  // Just under half of the last kept bit, plus that bit: carries into it above half, and at half
  // only where it is odd. A carry out of the fraction steps the exponent, up to infinity.
  const std::uint32_t last_kept_bit = (bits >> 16) & 1;
  return static_cast<std::uint16_t>((bits + 0x7fff + last_kept_bit) >> 16);
}

}  // namespace cohort
