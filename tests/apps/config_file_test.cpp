#include "config_file.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string refusal(const std::string& text, ErrorCode code) {
  try {
    parse_config(text, "job.toml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return {};
}

TEST(ConfigFile, HoldsKeysTablesLinesAndValues) {
  const auto entries = parse_config(
      "# layout\ntp = 4\n\n[generate]\nprompt = [\"a, b\", \"c # d\"]\n"
      "temperature = 0.25 # warm\nchat = true\n[bench.layer]\nrows = '1..4'\n",
      "job.toml");
  ASSERT_EQ(entries.size(), 8U) << "five settings, and tables with their lines";
  EXPECT_EQ(entries[0].key, "tp");
  EXPECT_EQ(entries[0].command, "");
  EXPECT_EQ(entries[0].line, 2U);
  EXPECT_THAT(entries[0].values, ElementsAre("4"));
  EXPECT_EQ(entries[1].command, "generate");
  EXPECT_EQ(entries[1].key, "");
  EXPECT_EQ(entries[2].key, "prompt");
  EXPECT_EQ(entries[2].kind, ConfigEntry::Kind::list);
  EXPECT_THAT(entries[2].values, ElementsAre("a, b", "c # d"));
  EXPECT_THAT(entries[3].values, ElementsAre("0.25"));
  EXPECT_EQ(entries[4].kind, ConfigEntry::Kind::boolean);
  EXPECT_THAT(entries[4].values, ElementsAre("true"));
  EXPECT_EQ(entries.back().command, "bench layer");
  EXPECT_EQ(entries.back().line, 9U);
}

TEST(ConfigFile, WhatIsNoTomlNamesItsLine) {
  EXPECT_THAT(refusal("tp = 2\nep = \n", ErrorCode::corrupt), StartsWith("job.toml:2: no TOML: "));
  EXPECT_THAT(refusal("tp = 2\ntp = 4\n", ErrorCode::corrupt), StartsWith("job.toml:2: no TOML: "));
  EXPECT_THAT(refusal("model = \"unended", ErrorCode::corrupt), StartsWith("job.toml:1: no TOML"));
  EXPECT_THAT(refusal("\xff\xfe = 1", ErrorCode::corrupt), StartsWith("job.toml:1: no TOML"));
  EXPECT_THAT(refusal("tp = 99999999999999999999", ErrorCode::corrupt), StartsWith("job.toml:1"));
  refusal("a = " + std::string(100'000, '['), ErrorCode::corrupt);
}

TEST(ConfigFile, LettersBeyondAsciiStandInQuotesAndComments) {
  const auto entries = parse_config(
      "\xEF\xBB\xBF# für š\nprompt = [\"š \\\" ü\", 'ß'] # é\nmodel = \"\"\"a\n\\\"\"\"\"\n",
      "job.toml");
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_THAT(entries[0].values, ElementsAre("š \" ü", "ß"));
  EXPECT_THAT(entries[1].values, ElementsAre("a\n\""));
  const auto expect_line = [](const std::string& text, const std::string& line) {
    EXPECT_THAT(refusal(text, ErrorCode::corrupt),
                AllOf(StartsWith("job.toml:" + line + ": no TOML: "),
                      HasSubstr("! stands for letters beyond ASCII")))
        << text;
  };
  expect_line("š = 1", "1");
  expect_line("tp = 1 š", "1");
  expect_line("tp = 1'š", "1");
  expect_line("tp = [[-['š']]]", "1");
  expect_line("tp = 'a' 'š'", "1");
  expect_line("prompt = \"\" š", "1");
  expect_line("prompt = '' \n\nš", "3");
  refusal("tp = 1\n[š]", ErrorCode::corrupt);
  EXPECT_EQ(parse_config("prompt = '''\n\nš'''", "job.toml")[0].values[0], "\nš");
  for (const char* space : {"\n", "  \r\n\t ", "\n\n"}) {
    EXPECT_THAT(refusal(std::string("prompt = \"\"\"a\\") + space + "š\"\"\"", ErrorCode::corrupt),
                HasSubstr("backslash at the end of a line"));
  }
}

TEST(ConfigFile, MessagesAreOneLineWhateverTheFileHolds) {
  EXPECT_THAT(refusal("tp = t\x01\n", ErrorCode::corrupt), HasSubstr("job.toml:1: no TOML: "));
  EXPECT_EQ(refusal("tp = 1\n\"a\\nb\" = 1", ErrorCode::usage),
            "job.toml:2: 'a\\x0ab' is no name of a flag");
  EXPECT_THAT(refusal("[\"\\u001b[31m\"]\ntp = 1", ErrorCode::usage),
              HasSubstr("'\\x1b[31m' is no name of a flag"));
  EXPECT_LT(refusal(std::string(5000, 'a') + " = 1", ErrorCode::usage).size(), 400U);
}

TEST(ConfigFile, ValuesThatNoFlagHasAreRefused) {
  EXPECT_EQ(refusal("\nseed = 2026-11-22\n", ErrorCode::usage),
            "job.toml:2: seed is neither a text, a number, true, false, nor a list of texts or "
            "numbers");
  refusal("prompt = [true]", ErrorCode::usage);
  refusal("prompt = [['a']]", ErrorCode::usage);
  refusal("[[generate]]\ntp = 2", ErrorCode::usage);
  EXPECT_THAT(refusal("prompt = \"a\\u0000b\"", ErrorCode::usage), HasSubstr("zero byte"));
  EXPECT_EQ(refusal("[bench.layer.more]\n", ErrorCode::usage),
            "job.toml:1: there is no command 'bench layer more'");
}

}  // namespace
}  // namespace cohort
