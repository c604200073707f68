#include "faults.hpp"

#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "exit_status.hpp"
#include "run_command.hpp"
#include "support/report_data.hpp"

namespace cohort {
namespace {

using faults::Fault;
using faults::Observation;
using faults::Outcome;
using faults::Setting;
using testing::HasSubstr;
using testing::StartsWith;

using Ended = test::CommandOutcome;

Ended run_command(const std::string& flags) {
  return test::run_command({"faults"}, flags);
}

Observation fails(const Setting&) {
  return {.outcome = Outcome::wrong, .text = "3 instead of 5", .as_said = true};
}
Observation does_not_fail(const Setting&) {
  return {.outcome = Outcome::right, .text = "right results"};
}
Observation keeps(const Setting& setting) {
  return {.outcome = Outcome::ended,
          .text = "on " + std::to_string(setting.ranks) + " ranks",
          .as_said = true};
}
Observation breaks(const Setting&) {
  return {.text = "rank 2: element 0 is 3 instead of 5"};
}
Observation throws(const Setting&) {
  throw Error(ErrorCode::system, "no memory for ranks to share");
}

Fault make_fault(std::string_view name, Observation (*naive)(const Setting&),
                 Observation (*ours)(const Setting&)) {
  return {.name = name,
          .what = "something goes wrong",
          .engines = "they do it so",
          .why = "It cannot happen.",
          .naive = naive,
          .ours = ours};
}

/// What the command says of planted faults.
Ended run_planted(const std::vector<Fault>& all, const FaultsOptions& options) {
  std::ostringstream output;
  Ended ended;
  try {
    run_faults(all, options, output, output);
  } catch (const ExitStatus& status) {
    ended.exit_code = status.code;
  }
  ended.output = output.str();
  return ended;
}

TEST(FaultsCommand, ABrokenPromiseIsExitCodeOne) {
  for (const auto broken : {breaks, throws}) {
    const std::vector<Fault> all = {make_fault("first", fails, keeps),
                                    make_fault("second", fails, broken)};
    const Ended text = run_planted(all, {});
    EXPECT_EQ(text.exit_code, 1);
    EXPECT_THAT(text.output, HasSubstr("broken (NOT KEPT)"));
    EXPECT_THAT(text.output, HasSubstr("the naive way failed in 2, cohort kept its promise in 1"));
    const Ended json = run_planted(all, {.json = true});
    EXPECT_EQ(json.exit_code, 1);
    const auto document = nlohmann::json::parse(json.output);
    EXPECT_EQ(document.at("kept"), false);
    EXPECT_EQ(document.at("faults").at(0).at("cohort").at("kept"), true);
    EXPECT_EQ(document.at("faults").at(1).at("cohort").at("kept"), false);
    EXPECT_EQ(document.at("faults").at(1).at("cohort").at("outcome"), "broken");
  }
}

TEST(FaultsCommand, ANaiveWayThatDoesNotFailIsSaidSo) {
  const std::vector<Fault> all = {make_fault("first", does_not_fail, keeps)};
  const Ended text = run_planted(all, {.ranks = 8});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.output, HasSubstr("naive   right (did not fail) right results"));
  EXPECT_THAT(text.output, HasSubstr("cohort  ended    on 8 ranks"));
  EXPECT_THAT(text.output, HasSubstr("1 faults on 8 ranks"));
  const auto document = nlohmann::json::parse(run_planted(all, {.json = true}).output);
  EXPECT_EQ(document.at("faults").at(0).at("naive").at("failed"), false);
}

TEST(FaultsCommand, JsonHoldsBothVerdicts) {
  const std::vector<Fault> all = {make_fault("first", fails, keeps)};
  const auto document = nlohmann::json::parse(run_planted(all, {.json = true}).output);
  EXPECT_EQ(document.at("schema"), 1);
  EXPECT_TRUE(document.at("version").is_string());
  EXPECT_EQ(document.at("ranks"), 4);
  EXPECT_EQ(document.at("kept"), true);
  EXPECT_GE(document.at("seconds"), 0);
  const auto& fault = document.at("faults").at(0);
  EXPECT_EQ(fault.at("name"), "first");
  EXPECT_EQ(fault.at("what"), "something goes wrong");
  EXPECT_EQ(fault.at("engines"), "they do it so");
  EXPECT_EQ(fault.at("why"), "It cannot happen.");
  EXPECT_EQ(fault.at("naive").at("outcome"), "wrong");
  EXPECT_EQ(fault.at("naive").at("failed"), true);
  EXPECT_EQ(fault.at("naive").at("observed"), "3 instead of 5");
  EXPECT_EQ(fault.at("cohort").at("outcome"), "ended");
  EXPECT_GE(fault.at("cohort").at("seconds"), 0);
}

TEST(FaultsCommand, AReportHoldsWhatTheDocumentDoes) {
  const std::vector<Fault> all = {make_fault("first", fails, keeps),
                                  make_fault("second", fails, breaks)};
  const std::string file =
      testing::TempDir() + "faults_report." + std::to_string(::getpid()) + ".html";
  const Ended ended = run_planted(all, {.json = true, .report = file});
  EXPECT_EQ(ended.exit_code, 1) << "written although a promise was broken";
  auto told = nlohmann::json::parse(ended.output);
  auto data = test::report_data(file).at("faults");
  told.erase("seconds");  // goes on between the two
  data.erase("seconds");
  EXPECT_EQ(data, told);
  std::filesystem::remove(file);
}

TEST(FaultsCommand, AReportThatCannotBeIsRefusedBeforeAnythingRuns) {
  const Ended unwritable = run_command("--report missing-folder/report.html");
  EXPECT_EQ(unwritable.exit_code, 2);
  EXPECT_EQ(unwritable.output, "");
  EXPECT_THAT(unwritable.errors, HasSubstr("--report missing-folder/report.html cannot be"));
  const Ended listed = run_command("--list --report report.html");
  EXPECT_EQ(listed.exit_code, 2);
  EXPECT_THAT(listed.errors, HasSubstr("--report has nothing to show with --list"));
}

TEST(FaultsCommand, OnlyKeepsTheirOrder) {
  const std::vector<Fault> all = {make_fault("first", fails, keeps),
                                  make_fault("second", fails, breaks),
                                  make_fault("third", fails, keeps)};
  const Ended ended = run_planted(all, {.only = {"third", "first"}, .json = true});
  EXPECT_EQ(ended.exit_code, 0);
  const auto document = nlohmann::json::parse(ended.output);
  ASSERT_EQ(document.at("faults").size(), 2U);
  EXPECT_EQ(document.at("faults").at(0).at("name"), "first");
  EXPECT_EQ(document.at("faults").at(1).at("name"), "third");
}

TEST(FaultsCommand, AnUnknownNameIsAnErrorWithTheNearestOne) {
  const Ended ended = run_command("--only dead-rank,wrong-grup");
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_EQ(ended.output, "");
  EXPECT_THAT(ended.errors, HasSubstr("--only wrong-grup: there is no such fault"));
  EXPECT_THAT(ended.errors, HasSubstr("did you mean 'wrong-group'?"));
  const Ended json = run_command("--only nothing-of-the-kind --json");
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_THAT(nlohmann::json::parse(json.output).at("error").at("message").get<std::string>(),
              HasSubstr("--list prints all"));
}

TEST(FaultsCommand, RanksMustMakeTwoKindsOfGroups) {
  for (const char* const ranks : {"2", "5", "18", "0"}) {
    const Ended ended = run_command("--ranks " + std::string(ranks));
    EXPECT_EQ(ended.exit_code, 2) << ranks;
    EXPECT_THAT(ended.errors, HasSubstr("an even number from 4 to 16")) << ranks;
  }
}

TEST(FaultsCommand, ListRunsNothing) {
  const Ended text = run_command("--list");
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.output, StartsWith("wrong-group        a buffer of tp is used on attn_cp\n"));
  const auto document = nlohmann::json::parse(run_command("--list --json").output);
  EXPECT_EQ(document.at("schema"), 1);
  EXPECT_EQ(static_cast<std::size_t>(std::count(text.output.begin(), text.output.end(), '\n')),
            document.at("faults").size());
  EXPECT_FALSE(document.at("faults").at(0).contains("naive"));
}

}  // namespace
}  // namespace cohort
