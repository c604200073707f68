#include "base/f16.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "base/bf16.hpp"

namespace cohort {
namespace {

float f32(std::uint32_t bits) {
  return std::bit_cast<float>(bits);
}

bool is_nan(std::uint32_t bits) {
  return (bits & 0x7fffU) > 0x7c00U;
}

/// What the standard says a finite pattern is worth, by no arithmetic of f16.hpp's kind.
double value_of(std::uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 10U & 0x1fU);
  const double fraction = bits & 0x3ffU;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

static_assert(f16_from_f32(1.0F) == 0x3c00);
static_assert(f32_from_f16(0xc000) == -2.0F);
static_assert(f32_from_f16(0x0001) == 0x1p-24F);

TEST(F16, WideningIsExactForEveryPattern) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float wide = f32_from_f16(static_cast<std::uint16_t>(bits));
    if (is_nan(bits)) {
      const std::uint32_t kept = (bits & 0x8000U) << 16U | 0x7f800000U | (bits & 0x3ffU) << 13U;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(wide), kept) << bits;
    } else if ((bits & 0x7fffU) == 0x7c00) {
      ASSERT_TRUE(std::isinf(wide)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(wide), value_of(bits)) << bits;
    }
    ASSERT_EQ(std::signbit(wide), bits >= 0x8000) << bits;
  }
}

TEST(F16, EveryPatternSurvivesTheRoundTripExceptNanPayloads) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto narrow = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(f16_from_f32(f32_from_f16(narrow)), is_nan(bits) ? kCanonicalNanF16 : narrow) << bits;
  }
}

// The midpoint of every two neighbours is an f32: it goes to the even one, and the f32 next to it
// goes to the nearer one. Infinity stands where 65536 would be.
TEST(F16, RoundsAroundEveryMidpoint) {
  for (std::uint32_t low = 0; low < 0x7c00; ++low) {
    const double above = low == 0x7bff ? 65536 : value_of(low + 1);
    const auto middle = static_cast<float>((value_of(low) + above) / 2);
    const auto bits = std::bit_cast<std::uint32_t>(middle);
    for (const std::uint32_t sign : {0U, 0x80000000U}) {
      const auto narrow_sign = sign >> 16U;
      ASSERT_EQ(f16_from_f32(f32(sign | bits)), (low + low % 2) | narrow_sign) << low;
      ASSERT_EQ(f16_from_f32(f32(sign | (bits - 1))), low | narrow_sign) << low;
      ASSERT_EQ(f16_from_f32(f32(sign | (bits + 1))), (low + 1) | narrow_sign) << low;
    }
  }
}

TEST(F16, TheSmallestAndTheLargestF32) {
  EXPECT_EQ(f16_from_f32(f32(0x00000001)), 0x0000);
  EXPECT_EQ(f16_from_f32(f32(0x80000001)), 0x8000);
  EXPECT_EQ(f16_from_f32(f32(0x007fffff)), 0x0000);
  EXPECT_EQ(f16_from_f32(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(f16_from_f32(std::numeric_limits<float>::lowest()), 0xfc00);
  EXPECT_EQ(f16_from_f32(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(f16_from_f32(-std::numeric_limits<float>::infinity()), 0xfc00);
}

TEST(F16, EveryNanBecomesTheCanonicalOne) {
  for (const std::uint32_t bits : {0x7f800001U, 0x7f801fffU, 0x7fc00000U, 0x7fffffffU, 0xff800001U,
                                   0xffc00000U, 0xffffffffU}) {
    EXPECT_EQ(f16_from_f32(f32(bits)), kCanonicalNanF16) << std::hex << bits;
  }
}

}  // namespace
}  // namespace cohort
