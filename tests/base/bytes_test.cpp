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

TEST(ParseBytes, ReadsWhatPeopleWrite) {
  EXPECT_EQ(parse_bytes("0"), 0U);
  EXPECT_EQ(parse_bytes("4096"), 4096U);
  EXPECT_EQ(parse_bytes("100B"), 100U);
  EXPECT_EQ(parse_bytes("3KiB"), 3072U);
  EXPECT_EQ(parse_bytes("64 MiB"), std::uint64_t{64} << 20U);
  EXPECT_EQ(parse_bytes("4GiB"), std::uint64_t{4} << 30U);
  EXPECT_EQ(parse_bytes("18446744073709551615"), ~std::uint64_t{0});
}

TEST(ParseBytes, RefusesAllElse) {
  for (const char* text : {"", "KiB", "-1", "+1", " 1", "1 ", "1.5MiB", "1kb", "1 kib", "1MB",
                           "1KiBs", "0x10", "18446744073709551616", "17179869184GiB"}) {
    EXPECT_FALSE(parse_bytes(text).has_value()) << "'" << text << "'";
  }
}

}  // namespace
}  // namespace cohort
