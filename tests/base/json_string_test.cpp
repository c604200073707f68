#include "base/json_string.hpp"

#include <gtest/gtest.h>

namespace cohort {
namespace {

TEST(JsonString, QuotesAndEscapes) {
  EXPECT_EQ(json_string(""), R"("")");
  EXPECT_EQ(json_string("rank 2 died"), R"("rank 2 died")");
  EXPECT_EQ(json_string("a \"name\" \\ b"), R"("a \"name\" \\ b")");
  EXPECT_EQ(json_string(std::string_view("a\nb\0c", 5)), R"("a\u000ab\u0000c")");
}

TEST(JsonString, KeepsWholeCharacters) {
  for (const char* text : {"\u00e9", "\u20ac", "\U0001f600", "\ud7ff", "\U0010ffff"}) {
    EXPECT_EQ(json_string(text), "\"" + std::string(text) + "\"");
  }
}

TEST(JsonString, ReplacesBytesThatAreNoCharacter) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(json_string("a\xFFz"), "\"a" + mark + "z\"");
  EXPECT_EQ(json_string("a\x80"), "\"a" + mark + "\"");
  EXPECT_EQ(json_string("\xE2\x82"), "\"" + mark + mark + "\"") << "cut short";
  EXPECT_EQ(json_string("\xC0\xAF"), "\"" + mark + mark + "\"") << "overlong";
  EXPECT_EQ(json_string("\xED\xA0\x80"), "\"" + mark + mark + mark + "\"") << "a surrogate";
  EXPECT_EQ(json_string("\xF4\x90\x80\x80"), "\"" + mark + mark + mark + mark + "\"");
}

}  // namespace
}  // namespace cohort
