#include "model/pretokenizer.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/expect_error.hpp"
#include "model/golden_file.hpp"
#include "model/pretokenizer_tables.hpp"

namespace cohort {
namespace {

using test::expect_error;

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> words;
  split_words(Pretokenizer::smollm, text, words);
  return words;
}

struct Split {
  std::string_view text;
  std::vector<std::string_view> words;
};

TEST(Pretokenizer, SmollmWords) {
  const std::vector<Split> splits{
      Split{"", {}}, Split{"Hello world", {"Hello", " world"}}, Split{"a  b", {"a", " ", " b"}},
      Split{"a   b", {"a", "  ", " b"}}, Split{"a \n b", {"a", " \n", " b"}},
      Split{"a\tb", {"a", "\t", "b"}}, Split{"a \tb", {"a", " ", "\t", "b"}},
      Split{"a  ", {"a", "  "}}, Split{" ", {" "}}, Split{"x\u00A0y", {"x", "\u00A0", "y"}},
      // A digit ends the text before it, so white space before it stays whole.
      Split{"a  12", {"a", "  ", "1", "2"}}, Split{"1a2", {"1", "a", "2"}},
      Split{"\u00BD\u0663x", {"\u00BD", "\u0663", "x"}}, Split{"it's", {"it", "'s"}},
      Split{"IT'S", {"IT", "'", "S"}}, Split{"we'll're", {"we", "'ll", "'re"}},
      Split{"''s", {"''", "s"}}, Split{" 's", {" '", "s"}}, Split{"'stop", {"'s", "top"}},
      Split{"'r", {"'", "r"}}, Split{"'", {"'"}}, Split{"a.b, c", {"a", ".", "b", ",", " c"}},
      Split{" !? x", {" !?", " x"}},
      // A combining mark is no letter.
      Split{"e\u0301a", {"e", "\u0301", "a"}},
      Split{"\u4F60\u597D\uFF0C\u4E16", {"\u4F60\u597D", "\uFF0C", "\u4E16"}}};
  for (const Split& expected : splits) EXPECT_EQ(split(expected.text), expected.words);
}

TEST(Pretokenizer, TablesAreSortedAndApart) {
  for (const auto ranges : {letter_ranges(), digit_ranges(), space_ranges()}) {
    char32_t previous = 0;
    for (const CodePointRange& range : ranges) {
      EXPECT_LE(range.first, range.last);
      EXPECT_GT(range.first, previous + 1);
      previous = range.last;
    }
    EXPECT_LT(previous, 0x110000U);
  }
}

TEST(Pretokenizer, EveryCodePointIsOfTheClassThatTheLibraryGivesIt) {
  constexpr std::string_view kLetters = "ldso";  // in the order of CodePointClass
  std::uint64_t checksum = 0xCBF29CE484222325;   // FNV-1a
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    const char letter = kLetters[static_cast<std::size_t>(code_point_class(code))];
    checksum = (checksum ^ static_cast<std::uint8_t>(letter)) * 0x100000001B3;
  }
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(checksum));
  EXPECT_EQ(std::string(text.data()), test::read_tokenizer_golden("small.json").class_checksum);
}

TEST(Pretokenizer, UnknownNameIsAnErrorThatNamesTheKnown) {
  EXPECT_EQ(pretokenizer_named("smollm"), Pretokenizer::smollm);
  for (const std::string name : {"", "Smollm", "qwen2"}) {
    expect_error(ErrorCode::unsupported, "pre-tokeniser '" + name + "'",
                 [&] { pretokenizer_named(name); });
    expect_error(ErrorCode::unsupported, "knows: smollm", [&] { pretokenizer_named(name); });
  }
}

}  // namespace
}  // namespace cohort
