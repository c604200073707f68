#include "plan.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "run_command.hpp"
#include "support/golden_model.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;

using Outcome = test::CommandOutcome;

Outcome run_plan(const std::string& flags) {
  return test::run_command({"plan", "--model", test::tiny_model_path()}, flags);
}

TEST(PlanCommand, JsonHoldsSlotsAndFootprint) {
  const Outcome outcome = run_plan("--tp 4 --attn-dp 2 --attn-cp 2 --max-step-tokens 100 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const auto json = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("layout").at("ranks"), 4);
  std::size_t end = 0;
  bool found = false;
  for (const auto& slot : json.at("slots")) {
    EXPECT_EQ(slot.at("offset"), end) << "slots lie one behind the other";
    end += slot.at("entry_bytes").get<std::size_t>() * slot.at("depth").get<std::size_t>();
    if (slot.at("name") != "mlp_output_sum") continue;
    found = true;
    EXPECT_EQ(slot.at("rows_max"), 100);
  }
  EXPECT_TRUE(found);
  const auto& pool = json.at("pools").at(0);
  EXPECT_EQ(pool.at("name"), "activations");
  EXPECT_EQ(pool.at("bytes"), pool.at("block_bytes_max").at("tp"));
  const auto& footprint = json.at("footprint");
  EXPECT_EQ(footprint.at("planned_bytes").size(), 4);
  std::size_t bytes = 0;
  for (const auto& row : footprint.at("rows")) {
    if (row.at("kind") != "control") bytes += row.at("bytes").get<std::size_t>();
  }
  const auto arena = footprint.at("arena_bytes").get<std::size_t>();
  EXPECT_EQ(bytes, arena);
  EXPECT_EQ(footprint.at("peak_bytes"), arena);
  EXPECT_GT(footprint.at("virtual_bytes"), arena);
}

TEST(PlanCommand, TextNamesSlotsAndTotals) {
  const Outcome outcome = run_plan("--tp 2 --attn-cp 2 --pool 64KiB");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("candidates"));
  EXPECT_THAT(outcome.output, HasSubstr("pool  activations  {attn_cp,tp}"));
  EXPECT_THAT(outcome.output, HasSubstr("64.0 KiB"));
  EXPECT_THAT(outcome.output, HasSubstr("arena of every rank"));
}

TEST(PlanCommand, RefusesAPoolThatIsNoSize) {
  const Outcome outcome = run_plan("--tp 2 --pool 64KB");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("--pool 64KB is no size"));
}

TEST(PlanCommand, RefusesALayoutThatTheModelDoesNotFit) {
  const Outcome outcome = run_plan("--tp 3");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.output, "");
  EXPECT_THAT(outcome.errors, HasSubstr("--tp 3"));
}

}  // namespace
}  // namespace cohort
