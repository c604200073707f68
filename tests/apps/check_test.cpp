#include "check.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_command.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;

using Outcome = test::CommandOutcome;

Outcome run(std::vector<std::string> words) {
  words.insert(words.begin(), "check");
  return test::run_command(words);
}

TEST(CheckCommand, WrongUseIsOneLineAndExitCodeTwo) {
  const auto expect = [](std::vector<std::string> arguments, const std::string& message) {
    const Outcome outcome = run(std::move(arguments));
    EXPECT_EQ(outcome.exit_code, 2) << message;
    EXPECT_THAT(outcome.errors, HasSubstr(message));
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1);
    EXPECT_EQ(outcome.output, "");
  };
  expect({"--ranks", "0"}, "--ranks 0 is not from 1 to 1024");
  expect({"--ranks", "1025"}, "--ranks 1025 is not from 1 to 1024");
  expect({"--ranks", "-1"}, "--ranks");
  expect({"--ranks", "two"}, "--ranks");
  expect({"--arena", "much"}, "--arena 'much' is no size");
  expect({"--arena", "0"}, "--arena '0' is no size");
  expect({"--arena", "-4KiB"}, "--arena");
  expect({"--arena", "65537GiB"}, "up to 64 TiB");
  expect({"--deadline", "0"}, "--deadline");
  expect({"--deadline", "nan"}, "--deadline");
  expect({"--arenas", "1GiB"},
         "unknown flag '--arenas' for 'cohort check'; did you mean '--arena'");
  expect({"machine"}, "unexpected argument 'machine' for 'cohort check'");
}

TEST(CheckCommand, HelpTeachesFlagsRowsAndExitCodes) {
  const Outcome outcome = run({"--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* text : {"--ranks", "--arena", "--deadline", "--json", "problem", "Exit codes",
                           "Examples:", "cohort check --ranks 8 --arena 512MiB"}) {
    EXPECT_THAT(outcome.output, HasSubstr(text));
  }
}

}  // namespace
}  // namespace cohort
