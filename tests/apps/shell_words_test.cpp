#include "shell_words.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

using testing::ElementsAre;

TEST(ShellWords, QuotesAndBackslashes) {
  EXPECT_THAT(split_shell_commands(R"(a 'b c' "d \"e\" \n $F" g\ h '' i'j'"k")"),
              ElementsAre(ElementsAre("a", "b c", "d \"e\" \\n $F", "g h", "", "ijk")));
}

TEST(ShellWords, LinesAreContinued) {
  EXPECT_THAT(split_shell_commands("a \\\n  --b 1 \\\r\n --c \\  \n --d \"e\\\nf\" \\"),
              ElementsAre(ElementsAre("a", "--b", "1", "--c", "--d", "ef")));
}

TEST(ShellWords, CommandsEnd) {
  EXPECT_THAT(
      split_shell_commands("# first\nexport A=1; b 2>&1 | tee x && c > log 2>>errors & d#e #f\n"),
      ElementsAre(ElementsAre("export", "A=1"), ElementsAre("b"), ElementsAre("tee", "x"),
                  ElementsAre("c"), ElementsAre("d#e")));
  EXPECT_TRUE(split_shell_commands(" \n ;\\\n").empty());
}

TEST(ShellWords, SubstitutionsStayInOnePiece) {
  EXPECT_THAT(split_shell_commands("a $(b | c ')' $(d; e)) x`f & g`y \"${H:-i j} <(k\" $L <(m n)"),
              ElementsAre(ElementsAre("a", "$(b | c ')' $(d; e))", "x`f & g`y", "${H:-i j} <(k",
                                      "$L", "<(m n)")));
}

TEST(ShellWords, BracketsEndCommands) {
  EXPECT_THAT(split_shell_commands("(cd a && b --c 8) > log"),
              ElementsAre(ElementsAre("cd", "a"), ElementsAre("b", "--c", "8")));
}

TEST(ShellWords, WindowsContinuesLinesInItsOwnWay) {
  EXPECT_THAT(split_shell_commands("a `\r\n --b ^ \n c `d`"),
              ElementsAre(ElementsAre("a", "--b", "c", "`d`")));
}

TEST(ShellWords, WhatIsNotClosedIsRefused) {
  for (const char* text :
       {"a 'b", "a \"b", "a \"b\\", "'", "$(a", "$(a 'b)", "`a", "\"${a\"", "<(", "$(\\"}) {
    EXPECT_THROW(split_shell_commands(text), Error) << text;
  }
}

}  // namespace
}  // namespace cohort
