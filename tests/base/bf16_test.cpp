#include "base/bf16.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace cohort {
namespace {

float f32(std::uint32_t bits) {
  return std::bit_cast<float>(bits);
}

static_assert(bf16_from_f32(1.0F) == 0x3f80);
static_assert(f32_from_bf16(0xc000) == -2.0F);

TEST(Bf16, WideningIsExactForEveryPattern) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float wide = f32_from_bf16(static_cast<std::uint16_t>(bits));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(wide), bits << 16);
  }
}

TEST(Bf16, EveryPatternSurvivesTheRoundTripExceptNanPayloads) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto narrow = static_cast<std::uint16_t>(bits);
    const bool is_nan = (bits & 0x7fff) > 0x7f80;
    ASSERT_EQ(bf16_from_f32(f32_from_bf16(narrow)), is_nan ? kCanonicalNanBf16 : narrow) << bits;
  }
}

TEST(Bf16, TiesGoToEven) {
  EXPECT_EQ(bf16_from_f32(f32(0x3f808000)), 0x3f80);
  EXPECT_EQ(bf16_from_f32(f32(0x3f818000)), 0x3f82);
  EXPECT_EQ(bf16_from_f32(f32(0xbf808000)), 0xbf80);
  EXPECT_EQ(bf16_from_f32(f32(0xbf818000)), 0xbf82);
}

TEST(Bf16, OneBitOffATieGoesToTheNearer) {
  EXPECT_EQ(bf16_from_f32(f32(0x3f807fff)), 0x3f80);
  EXPECT_EQ(bf16_from_f32(f32(0x3f808001)), 0x3f81);
  EXPECT_EQ(bf16_from_f32(f32(0x3f817fff)), 0x3f81);
  EXPECT_EQ(bf16_from_f32(f32(0x3f818001)), 0x3f82);
}

TEST(Bf16, DenormalsAreRoundedLikeOthers) {
  EXPECT_EQ(bf16_from_f32(f32(0x00010000)), 0x0001);
  EXPECT_EQ(bf16_from_f32(f32(0x00008000)), 0x0000);
  EXPECT_EQ(bf16_from_f32(f32(0x00008001)), 0x0001);
  EXPECT_EQ(bf16_from_f32(f32(0x80018000)), 0x8002);
  EXPECT_EQ(bf16_from_f32(f32(0x80000001)), 0x8000);
  EXPECT_EQ(bf16_from_f32(f32(0x007fffff)), 0x0080);
}

TEST(Bf16, OverflowReachesInfinityOnlyFromHalfAStepOn) {
  EXPECT_EQ(bf16_from_f32(f32(0x7f7f7fff)), 0x7f7f);
  EXPECT_EQ(bf16_from_f32(f32(0x7f7f8000)), 0x7f80);
  EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::lowest()), 0xff80);
  EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::infinity()), 0x7f80);
  EXPECT_EQ(bf16_from_f32(-std::numeric_limits<float>::infinity()), 0xff80);
}

TEST(Bf16, EveryNanBecomesTheCanonicalOne) {
  for (const std::uint32_t bits : {0x7f800001U, 0x7f80ffffU, 0x7fc00000U, 0x7fffffffU, 0xff800001U,
                                   0xffc00000U, 0xffffffffU}) {
    EXPECT_EQ(bf16_from_f32(f32(bits)), kCanonicalNanBf16) << std::hex << bits;
  }
}

// Doubles hold every f32, every bf16 and every distance between them exactly.
TEST(Bf16, NothingRepresentableIsNearer) {
  std::uint32_t bits = 1;
  for (int round = 0; round < 200000; ++round) {
    bits = bits * 1664525U + 1013904223U;
    const float value = f32(bits);
    const std::uint16_t narrow = bf16_from_f32(value);
    const double distance =
        std::abs(static_cast<double>(value) - static_cast<double>(f32_from_bf16(narrow)));
    if (!std::isfinite(distance)) continue;
    for (const int step : {-1, 1}) {
      const double other = f32_from_bf16(static_cast<std::uint16_t>(narrow + step));
      if (!std::isfinite(other)) continue;
      const double other_distance = std::abs(static_cast<double>(value) - other);
      ASSERT_LE(distance, other_distance) << std::hex << bits;
      if (distance == other_distance) {
        ASSERT_EQ(narrow & 1, 0) << std::hex << bits;
      }
    }
  }
}

}  // namespace
}  // namespace cohort
