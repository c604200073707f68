#include "terminal.hpp"

#include <sstream>

#include <gtest/gtest.h>

namespace cohort {
namespace {

TEST(Terminal, FollowsTheConventions) {
  constexpr Terminal kPlain{};
  constexpr Terminal kLive{.live = true, .colours = false};
  constexpr Terminal kAll{.live = true, .colours = true};
  EXPECT_EQ(terminal_of(true, "xterm", nullptr), kAll);
  EXPECT_EQ(terminal_of(true, "xterm", ""), kAll);
  EXPECT_EQ(terminal_of(true, "xterm", "1"), kLive);
  EXPECT_EQ(terminal_of(true, "xterm", "0"), kLive);
  EXPECT_EQ(terminal_of(true, "dumb", nullptr), kPlain);
  EXPECT_EQ(terminal_of(true, "", nullptr), kPlain);
  EXPECT_EQ(terminal_of(true, nullptr, nullptr), kPlain);
  EXPECT_EQ(terminal_of(false, "xterm", nullptr), kPlain);
}

TEST(Terminal, AnyOtherStreamIsNone) {
  EXPECT_EQ(terminal_of(std::ostringstream()), Terminal{});
}

TEST(Terminal, WordsAreColouredOnlyWhereThatIsSeen) {
  EXPECT_EQ(inked("ok", Ink::green, {}), "ok");
  EXPECT_EQ(inked("ok", Ink::green, {.live = true, .colours = true}), "\x1b[32mok\x1b[0m");
}

}  // namespace
}  // namespace cohort
