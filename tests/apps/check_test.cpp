#include "check.hpp"

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "command_line.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;

struct Outcome {
  int exit_code = 0;
  std::string output;
  std::string errors;
};

Outcome run(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), {"cohort", "check"});
  std::ostringstream output;
  std::ostringstream errors;
  const int exit_code =
      run_command_line(static_cast<int>(arguments.size()), arguments.data(), output, errors);
  return {exit_code, output.str(), errors.str()};
}

TEST(CheckCommand, WrongUseIsOneLineAndExitCodeTwo) {
  const auto expect = [](std::vector<const char*> arguments, const std::string& message) {
    const Outcome outcome = run(std::move(arguments));
    EXPECT_EQ(outcome.exit_code, 2) << message;
    EXPECT_THAT(outcome.errors, HasSubstr(message));
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1);
    EXPECT_EQ(outcome.output, "");
  };
  expect({"--ranks", "0"}, "--ranks is not from 1 to 1024");
  expect({"--ranks", "1025"}, "--ranks is not from 1 to 1024");
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
