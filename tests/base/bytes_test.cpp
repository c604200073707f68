#include "base/bytes.hpp"

#include <gtest/gtest.h>

namespace cohort {
namespace {

TEST(FormatBytes, CountsSmallNumbersExactly) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
}

TEST(FormatBytes, RoundsToOneDecimal) {
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1536 * 1024), "1.5 MiB");
  EXPECT_EQ(format_bytes(1024 + 51), "1.0 KiB");
  EXPECT_EQ(format_bytes(1024 + 52), "1.1 KiB");
}

TEST(FormatBytes, RoundingUpReachesTheNextUnit) {
  EXPECT_EQ(format_bytes((std::uint64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(1023 * 1024), "1023.0 KiB");
}

TEST(FormatBytes, TakesTheLargestNumber) {
  EXPECT_EQ(format_bytes(~std::uint64_t{0}), "16.0 EiB");
}

}  // namespace
}  // namespace cohort
