// The faults of the field, as a user replays them.

#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/subprocess.hpp"

namespace cohort {
namespace {

test::Finished faults(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {COHORT_BUILD_DIR "/cohort", "faults"});
  return test::Subprocess(arguments).wait(test::patience(std::chrono::seconds(60)));
}

// The limit of a minute is that of the process, which is killed by then.
TEST(FaultsOfTheField, AllFailTheNaiveWayAndNoneHere) {
  const test::Finished finished = faults({"--json"});
  ASSERT_EQ(finished.exit_code, 0) << finished.output << finished.errors;
  EXPECT_EQ(finished.errors, "");
  const auto document = nlohmann::json::parse(finished.output);
  EXPECT_EQ(document.at("kept"), true);
  EXPECT_EQ(document.at("faults").size(), 13U);
  std::set<std::string> outcomes;
  for (const auto& fault : document.at("faults")) {
    EXPECT_EQ(fault.at("naive").at("failed"), true) << fault;
    EXPECT_EQ(fault.at("cohort").at("kept"), true) << fault;
    EXPECT_NE(fault.at("naive").at("observed"), "") << fault;
    outcomes.insert(fault.at("naive").at("outcome"));
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"hang", "slow", "wrong"}));
}

TEST(FaultsOfTheField, ChosenOnesOnMoreRanks) {
  const test::Finished finished = faults({"--only", "wrong-group,resized-call", "--ranks", "6"});
  EXPECT_EQ(finished.exit_code, 0) << finished.output << finished.errors;
  EXPECT_THAT(finished.output, testing::HasSubstr("2 faults on 6 ranks in "));
}

}  // namespace
}  // namespace cohort
