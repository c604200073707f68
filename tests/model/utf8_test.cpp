#include "model/utf8.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace cohort {
namespace {

using namespace std::string_view_literals;

TEST(Utf8, ReadsBackEveryCodePoint) {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    append_utf8(text, code);
    const Utf8Step step = next_utf8(text + "x");
    ASSERT_EQ(step.status, Utf8Status::valid) << std::hex << static_cast<unsigned>(code);
    ASSERT_EQ(step.code_point, code);
    ASSERT_EQ(step.byte_count, text.size());
    // Every shorter prefix is the beginning of a character, not a wrong one.
    for (std::size_t bytes = 1; bytes < text.size(); ++bytes) {
      const Utf8Step part = next_utf8(std::string_view(text).substr(0, bytes));
      ASSERT_EQ(part.status, Utf8Status::incomplete);
      ASSERT_EQ(part.byte_count, bytes);
    }
  }
}

/// Counts the values of two and three bytes that are whole characters, by trying them all.
TEST(Utf8, AcceptsNothingElse) {
  std::size_t two = 0;
  std::size_t three = 0;
  for (unsigned first = 0x80; first < 0x100; ++first) {
    for (unsigned second = 0; second < 0x100; ++second) {
      std::string text{static_cast<char>(first), static_cast<char>(second)};
      const Utf8Step step = next_utf8(text);
      if (step.status == Utf8Status::valid) ++two;
      if (step.status != Utf8Status::incomplete) continue;
      text += '\0';
      for (unsigned third = 0; third < 0x100; ++third) {
        text[2] = static_cast<char>(third);
        if (next_utf8(text).status == Utf8Status::valid) ++three;
      }
    }
  }
  EXPECT_EQ(two, 0x800U - 0x80U);
  EXPECT_EQ(three, 0x10000U - 0x800U - 0x800U);  // less the surrogates
}

struct Invalid {
  std::string_view bytes;
  std::size_t offset;
  std::string_view repaired;
};

// One replacement for each longest run that could have begun a character.
TEST(Utf8, InvalidBytesAreFoundAndReplaced) {
  const std::vector<Invalid> cases{Invalid{"\x80", 0, "\uFFFD"},
                                   Invalid{"ab\xFF", 2, "ab\uFFFD"},
                                   Invalid{"\xC0\xAF", 0, "\uFFFD\uFFFD"},  // overlong '/'
                                   Invalid{"\xE0\x80\x80", 0, "\uFFFD\uFFFD\uFFFD"},    // overlong
                                   Invalid{"\xED\xA0\x80x", 0, "\uFFFD\uFFFD\uFFFDx"},  // surrogate
                                   Invalid{"\xF4\x90\x80\x80", 0, "\uFFFD\uFFFD\uFFFD\uFFFD"},
                                   Invalid{"\xE2\x82", 0, "\uFFFD"},
                                   Invalid{"\xE2\x82x", 0, "\uFFFDx"},
                                   Invalid{"\xF0\x9F\x98", 0, "\uFFFD"},
                                   Invalid{"\xF0\x9F\xF0\x9F\x98\x80", 0, "\uFFFD\U0001F600"},
                                   Invalid{"\xE2\x82\xAC\xE2", 3, "\u20AC\uFFFD"}};
  for (const Invalid& invalid : cases) {
    EXPECT_EQ(first_invalid_utf8(invalid.bytes), invalid.offset);
    EXPECT_EQ(to_valid_utf8(invalid.bytes), invalid.repaired);
  }
}

TEST(Utf8, ValidTextIsLeftAlone) {
  constexpr std::string_view kText = "a\0\u00E9\u20AC\U0001F600"sv;
  EXPECT_FALSE(first_invalid_utf8(kText));
  EXPECT_EQ(to_valid_utf8(kText), kText);
  EXPECT_FALSE(first_invalid_utf8(""));
}

}  // namespace
}  // namespace cohort
