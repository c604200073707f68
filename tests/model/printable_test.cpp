#include "model/printable.hpp"

#include <gtest/gtest.h>

namespace cohort {
namespace {

TEST(Printable, TextStaysAsItIs) {
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(printable("Ġworld's 你"), "Ġworld's 你");
}

TEST(Printable, ControlCharactersAreSpelt) {
  EXPECT_EQ(printable(std::string_view("a\x1b[2J\n\0\x7f", 8)), "a\\x1b[2J\\x0a\\x00\\x7f");
}

TEST(Printable, WhatIsNoCharacterIsReplaced) {
  EXPECT_EQ(printable("a\xff"
                      "b"),
            "a\xEF\xBF\xBD"
            "b");
}

TEST(Printable, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(printable(std::string(kPrintableBytesMax, 'x')), std::string(kPrintableBytesMax, 'x'));
  std::string wide = "x";
  for (std::size_t i = 0; i < kPrintableBytesMax; ++i) wide += "é";
  const std::string cut = printable(wide);
  EXPECT_EQ(cut.size(), kPrintableBytesMax - 1 + 3);
  EXPECT_EQ(cut.substr(cut.size() - 5), "é...");
}

}  // namespace
}  // namespace cohort
