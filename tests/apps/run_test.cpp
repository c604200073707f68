#include "run.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "run_command.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

using Outcome = test::CommandOutcome;

Outcome run(std::vector<std::string> words) {
  words.insert(words.begin(), "run");
  return test::run_command(words);
}

TEST(RunCommand, EndsWithZeroAndSilenceIfAllRanksDo) {
  const Outcome outcome = run({"-n", "3", "--", "true"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, IsEmpty());
  EXPECT_THAT(outcome.errors, IsEmpty());
}

TEST(RunCommand, PassesOnTheProgramsOwnFlags) {
  EXPECT_EQ(run({"-n", "2", "--", "sh", "-c", "test \"$1\" = --json", "sh", "--json"}).exit_code,
            0);
}

TEST(RunCommand, PrintsEveryRanksEndAsJson) {
  const Outcome outcome = run({"-n", "2", "--json", "--", "true"});
  EXPECT_EQ(outcome.exit_code, 0);
  const auto document = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(document["schema"], 1);
  ASSERT_EQ(document["ranks"].size(), 2u);
  EXPECT_EQ(document["ranks"][1]["rank"], 1);
  EXPECT_EQ(document["ranks"][1]["exit_code"], 0);
  EXPECT_TRUE(document["ranks"][1]["signal"].is_null());
}

TEST(RunCommand, AFailureIsOneLineAndTheRanksExitCode) {
  const Outcome outcome = run({"-n", "2", "--", "sh", "-c", "exit $((2 * COHORT_RANK))"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.errors, "cohort: error: rank 1 ended with exit code 2\n");
}

TEST(RunCommand, WrongUseIsOneLineAndExitCodeTwo) {
  const auto expect = [](std::vector<std::string> arguments, const std::string& message) {
    const Outcome outcome = run(std::move(arguments));
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.errors, HasSubstr(message));
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1);
  };
  expect({"--", "true"}, "--ranks is required");
  expect({"-n", "2"}, "program is required");
  expect({"-n", "0", "--", "true"}, "cannot start 0 ranks");
  expect({"-n", "many", "--", "true"}, "--ranks");
  expect({"-n", "2", "--grace", "-1", "--", "true"}, "--grace");
  expect({"-n", "2", "--", "./no-such-program"}, "cannot start './no-such-program'");
}

}  // namespace
}  // namespace cohort
