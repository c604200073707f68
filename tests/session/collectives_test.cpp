#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "contract/collective_contract.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;

void run_contract(RankMode mode, const LayoutSizes& sizes, const PlanOptions& options = {}) {
  const Layout layout(sizes);
  const auto results = test::run_ranks(mode, layout.world_size(), [&](World& world) {
    Session session = commit(world, contract::collective_plan(layout, options));
    contract::check_collectives(session, world.rank(), 20260101);
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    EXPECT_EQ(session.measured_bytes(), footprint(session.plan()).planned_bytes(world.rank()));
    session.close();
    return std::string("done");
  });
  test::expect_no_errors(results);
  ASSERT_EQ(results.size(), layout.world_size());
  for (const test::RankResult& result : results) EXPECT_EQ(result.output, "done");
}

using ModeAndSize = std::tuple<RankMode, std::uint32_t>;
class CollectiveContract : public testing::TestWithParam<ModeAndSize> {};

TEST_P(CollectiveContract, Holds) {
  const auto [mode, ranks] = GetParam();
  run_contract(mode, {.tp = ranks});
}

TEST_P(CollectiveContract, HoldsThroughStagingAlone) {
  const auto [mode, ranks] = GetParam();
  run_contract(mode, {.tp = ranks}, {.symmetry = Symmetry::off});
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, CollectiveContract,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Range(1U, 9U)),
                         [](const testing::TestParamInfo<ModeAndSize>& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  std::to_string(std::get<1>(param.param));
                         });

class OverlappingGroups : public testing::TestWithParam<RankMode> {};

TEST_P(OverlappingGroups, KeepTheirCallsApart) {
  run_contract(GetParam(), {.tp = 4, .attn_dp = 2, .attn_cp = 2});
  if (GetParam() == RankMode::processes) return;  // one world per test and process
  run_contract(GetParam(), {.tp = 6, .attn_cp = 2});
#ifndef COHORT_THREAD_SANITIZER  // two minutes under it, and CollectiveContract has 8 ranks, too
  run_contract(GetParam(), {.tp = 8, .attn_dp = 2, .attn_cp = 2});
#endif
}

INSTANTIATE_TEST_SUITE_P(Modes, OverlappingGroups,
                         testing::Values(RankMode::threads, RankMode::processes),
                         [](const auto& mode) { return test::to_string(mode.param); });

}  // namespace
}  // namespace cohort
