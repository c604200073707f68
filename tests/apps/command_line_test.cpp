#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "run_command.hpp"

namespace cohort {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

using Outcome = test::CommandOutcome;

Outcome run(const std::vector<std::string>& words) {
  return test::run_command(words);
}

void expect_usage_error(const Outcome& outcome, const std::string& message) {
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.output, "");
  EXPECT_EQ(outcome.errors, "cohort: error: " + message + "\n");
}

TEST(CommandLine, AloneSaysWhatItIsAndWhatToTry) {
  const Outcome outcome = run({});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, StartsWith("cohort " COHORT_VERSION ": symmetric memory"));
  EXPECT_THAT(outcome.output, HasSubstr("groups"));
  EXPECT_THAT(outcome.output, HasSubstr("Try next:\n  cohort "));
  EXPECT_EQ(outcome.errors, "");
}

/// Takes away the variable of --model, by which other tests find a model, as long as it lives.
class NoModelVariable {
 public:
  NoModelVariable() {
    if (const char* value = std::getenv("COHORT_MODEL")) value_ = value;
    ::unsetenv("COHORT_MODEL");
  }
  ~NoModelVariable() {
    if (value_) ::setenv("COHORT_MODEL", value_->c_str(), 1);
  }
  NoModelVariable(const NoModelVariable&) = delete;
  NoModelVariable& operator=(const NoModelVariable&) = delete;

 private:
  std::optional<std::string> value_;
};

TEST(CommandLine, ACommandAloneSaysWhatItNeeds) {
  const NoModelVariable none;
  const Outcome outcome = run({"generate"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.output, "");
  EXPECT_THAT(outcome.errors,
              StartsWith("cohort: error: --model is required\n\ncohort generate needs at least:\n"
                         "  --model FILE\n      Model file"));
  EXPECT_THAT(outcome.errors, HasSubstr("\nExamples:\n  # One rank:\n  cohort generate"));
  EXPECT_THAT(outcome.errors, testing::EndsWith("'cohort generate --help' explains every flag.\n"));
  // Who has said more gets one line.
  expect_usage_error(run({"generate", "--tp", "2"}),
                     "--model is required; see 'cohort generate --help'");
  EXPECT_EQ(run({"generate", "--json"}).errors, "");
}

TEST(CommandLine, PrintsItsVersion) {
  const Outcome outcome = run({"--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.output, "cohort " COHORT_VERSION "\n");
}

TEST(CommandLine, HelpGoesToTheOutput) {
  EXPECT_THAT(run({"--help"}).output, HasSubstr("Usage: cohort"));
  const Outcome outcome = run({"groups", "--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, HasSubstr("--attn-dp"));
}

TEST(CommandLine, RunsTheSubcommand) {
  const Outcome outcome = run({"groups", "--tp", "2", "--json"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(nlohmann::json::parse(outcome.output).at("world"), 2);
}

TEST(CommandLine, UnknownCommandNamesTheNearest) {
  expect_usage_error(run({"grups", "--tp", "2"}),
                     "unknown command 'grups'; did you mean 'groups'?");
  expect_usage_error(run({"frobnicate"}),
                     "unknown command 'frobnicate'; 'cohort --help' lists all");
}

TEST(CommandLine, UnknownFlagNamesTheNearest) {
  expect_usage_error(run({"groups", "--attn-d=2"}),
                     "unknown flag '--attn-d' for 'cohort groups'; did you mean '--attn-dp'?");
  expect_usage_error(run({"--versio"}), "unknown flag '--versio'; did you mean '--version'?");
}

TEST(CommandLine, MisplacedArgumentsAreRefused) {
  expect_usage_error(run({"--tp", "2", "groups"}),
                     "flag '--tp' must come after the command's name");
  expect_usage_error(run({"groups", "four"}), "unexpected argument 'four' for 'cohort groups'");
}

TEST(CommandLine, AWrongValueIsAUsageError) {
  const Outcome outcome = run({"groups", "--tp", "many"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.errors, StartsWith("cohort: error: --tp: 'many' is not"));
  EXPECT_EQ(run({"groups", "--tp"}).exit_code, 2);
}

TEST(CommandLine, WhatIsNoValueSaysWhereValuesAreTold) {
  expect_usage_error(run({"bench", "--rounds", "many"}),
                     "--rounds: 'many' is no value that it takes; see 'cohort bench --help'");
  expect_usage_error(run({"bench", "--rounds", "1", "--rounds", "2"}),
                     "--rounds takes one value, and is given 2; see 'cohort bench --help'");
  expect_usage_error(run({"health", "--watch"}), "file is required; see 'cohort health --help'");
  expect_usage_error(run({"bench", "layer", "--hidden"}),
                     "--hidden: 1 required N missing; see 'cohort bench layer --help'");
}

TEST(CommandLine, WithJsonAnErrorIsJsonOnTheOutput) {
  for (const auto& arguments :
       {std::vector<std::string>{"groups", "--json", "--tpp", "2"},
        std::vector<std::string>{"groups", "--json", "--tp", "3", "--attn-dp", "2"}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_EQ(outcome.errors, "");
    EXPECT_EQ(nlohmann::json::parse(outcome.output).at("error").at("code"), "usage");
  }
}

TEST(CommandLine, AnOutputThatCannotBeWrittenIsAnError) {
  std::ostringstream output;
  output.setstate(std::ios::badbit);
  std::ostringstream errors;
  const std::vector<const char*> arguments{"cohort", "groups"};
  EXPECT_EQ(run_command_line(2, arguments.data(), output, errors), 1);
  EXPECT_EQ(
      errors.str(),
      "cohort: error: cannot write to standard output: its disk is full or its reader is gone; "
      "what was printed is not complete\n");
}

}  // namespace
}  // namespace cohort
