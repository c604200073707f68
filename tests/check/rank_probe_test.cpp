#include "check/rank_probe.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/ranks.hpp"

namespace cohort::check {
namespace {

using test::RankMode;

struct Case {
  RankMode mode;
  std::uint32_t ranks;
};

class ProbeRanks : public testing::TestWithParam<Case> {};

TEST_P(ProbeRanks, ShareMemoryAndTimeEachOther) {
  const auto [mode, ranks] = GetParam();
  const auto results = test::run_ranks(mode, ranks, [](World& world) {
    RankReport report;
    int published = 0;
    probe_ranks(world, {world.size(), std::nullopt}, report,
                [&](const RankReport&) { ++published; });
    EXPECT_GE(published, 3);
    return to_text(report);
  });
  test::expect_no_errors(results);
  ASSERT_EQ(results.size(), ranks);
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    const RankReport report = parse_rank_report(results[rank].output);
    EXPECT_TRUE(report.shares_memory);
    EXPECT_TRUE(report.finished);
    EXPECT_FALSE(report.addresses) << *report.addresses;
    const std::size_t pairs = std::min(ranks - 1, 15u);
    ASSERT_EQ(report.trips.size(), rank == 0 ? pairs : 0);
    for (std::size_t pair = 0; pair < report.trips.size(); ++pair) {
      const RoundTrip& trip = report.trips[pair];
      for (const TripTimes& times : {trip.spin, trip.sleep}) {
        EXPECT_GT(times.best_ns, 0);
        EXPECT_GE(times.median_ns, times.best_ns);
      }
      EXPECT_LT(trip.other, ranks);
      EXPECT_GT(trip.other, pair == 0 ? 0 : report.trips[pair - 1].other);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, ProbeRanks,
                         testing::Values(Case{RankMode::threads, 1}, Case{RankMode::threads, 2},
                                         Case{RankMode::threads, 3}, Case{RankMode::processes, 2},
                                         Case{RankMode::processes, 4},
                                         Case{RankMode::processes, 18}),
                         [](const auto& each) {
                           return test::to_string(each.param.mode) +
                                  std::to_string(each.param.ranks);
                         });

TEST(ProbeRanksThatFail, ARankThatIsRefusedAddressesSaysSoAndGoesOn) {
  const auto results = test::run_ranks(RankMode::processes, 2, [](World& world) {
    RankReport report;
    Wanted wanted{2, std::nullopt};
    // More addresses than any processor has.
    if (world.rank() == WorldRank{1}) wanted.arena_bytes = std::uint64_t{1} << 62;
    probe_ranks(world, wanted, report, [](const RankReport&) {});
    return to_text(report);
  });
  test::expect_no_errors(results);
  EXPECT_FALSE(parse_rank_report(results[0].output).addresses);
  const RankReport refused = parse_rank_report(results[1].output);
  ASSERT_TRUE(refused.addresses);
  EXPECT_THAT(*refused.addresses, testing::HasSubstr("could not reserve"));
  EXPECT_TRUE(refused.finished);
}

TEST(ProbeRanksThatFail, ARankThatLeavesEndsTheOthers) {
  const auto results = test::run_ranks(RankMode::processes, 3, [](World& world) {
    if (world.rank() == WorldRank{2}) return std::string("left");
    RankReport report;
    probe_ranks(world, {3, std::nullopt}, report, [](const RankReport&) {});
    return to_text(report);
  });
  for (const std::uint32_t rank : {0U, 1U}) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::peer_failed);
  }
}

}  // namespace
}  // namespace cohort::check
