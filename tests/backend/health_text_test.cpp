#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/health.hpp>
#include <cohort/version.hpp>

namespace cohort {
namespace {

Health sample() {
  Health health;
  health.taken_at_s = 1700000000.25;
  health.stall_limit_s = 1;
  health.generation = 2;
  health.ranks.resize(4);
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    health.ranks[rank].rank = WorldRank{rank};
    health.ranks[rank].pid = 100 + rank;
    health.ranks[rank].generation = 2;
    health.ranks[rank].activity = RankActivity::working;
  }
  health.ranks[1].activity = RankActivity::stalled;
  health.ranks[1].wait = RankWait{WorldRank{0}, 3.25, false, "barrier on tp [0, 1], call 17"};
  health.ranks[1].stalls = 2;
  health.ranks[1].last_stalled_on = WorldRank{0};
  health.ranks[1].calls = {{GroupKind::tp, Lane{0}, 17}, {GroupKind::tp, Lane{3}, 4}};
  health.ranks[2].activity = RankActivity::idle;
  health.ranks[2].idle_s = 12;
  health.ranks[3].activity = RankActivity::waiting;
  health.ranks[3].wait = RankWait{WorldRank{2}, 11.5, true, ""};
  health.ranks[3].calls = {{GroupKind::tp, Lane{0}, 16}};
  return health;
}

TEST(HealthText, TellsEachRankInALine) {
  EXPECT_EQ(to_text(sample()),
            "stalled: 4 ranks, generation 2\n"
            "rank 0  working\n"
            "rank 1  stalled 3.2 s for rank 0 in barrier on tp [0, 1], call 17; stalls: 2, the "
            "last for rank 0\n"
            "rank 2  idle 12.0 s\n"
            "rank 3  waiting 11.5 s for rank 2 (outside work)\n"
            "calls on tp lane 0: - 17 - 16\n"
            "calls on tp lane 3: - 4 - -\n");
}

TEST(HealthText, TellsTheFaultAndAStoppedProcess) {
  Health health = sample();
  health.fault = Error(ErrorCode::peer_failed, "rank 3 died", WorldRank{3}, "all_reduce");
  health.ranks[0].stopped = true;
  EXPECT_THAT(to_text(health),
              testing::StartsWith("failed: 4 ranks, generation 2\n"
                                  "fault: peer_failed: rank 3 died (in all_reduce)\n"
                                  "rank 0  working; its process 100 is stopped\n"));
}

TEST(HealthText, IsJsonOnOneLine) {
  Health health = sample();
  health.ranks.resize(2);
  health.fault = Error(ErrorCode::timeout, "say \"why\"\n", WorldRank{0});
  EXPECT_EQ(to_json(health),
            R"({"schema":1,"version":")" COHORT_VERSION
            R"(","verdict":"failed","taken_at_s":1700000000.250,"stall_limit_s":1.000,)"
            R"("generation":2,"fault":{"code":"timeout","message":"say \"why\"\u000a","rank":0,)"
            R"("phase":null},"ranks":[{"rank":0,"state":"working","pid":100,"stopped":false,)"
            R"("waiting":null,"idle_s":null,"generation":2,"stalls":0,"stalled_s":0.000,)"
            R"("last_stalled_on":null,"calls":[]},{"rank":1,"state":"stalled","pid":101,)"
            R"("stopped":false,"waiting":{"rank":0,"waited_s":3.250,"for_idle":false,)"
            R"("subject":"barrier on tp [0, 1], call 17"},"idle_s":null,"generation":2,)"
            R"("stalls":2,"stalled_s":0.000,"last_stalled_on":0,"calls":[{"group":"tp","lane":0,)"
            R"("sequence":17},{"group":"tp","lane":3,"sequence":4}]}]})");
}

TEST(HealthText, VerdictIsTheWorstOfItsRanks) {
  Health health = sample();
  EXPECT_EQ(health.verdict(), HealthVerdict::stalled);
  health.ranks[1].activity = RankActivity::waiting;
  EXPECT_EQ(health.verdict(), HealthVerdict::healthy) << "waiting and idling is no illness";
  health.ranks[0].stopped = true;
  EXPECT_EQ(health.verdict(), HealthVerdict::stalled);
  health.ranks[2].activity = RankActivity::dead;
  EXPECT_EQ(health.verdict(), HealthVerdict::failed);
  for (RankHealth& rank : health.ranks) {
    rank.activity = RankActivity::left;
    rank.stopped = false;
  }
  EXPECT_EQ(health.verdict(), HealthVerdict::ended);
  health.fault = Error(ErrorCode::corrupt, "torn");
  EXPECT_EQ(health.verdict(), HealthVerdict::failed);
}

TEST(HealthText, NamesOfActivitiesGoBothWays) {
  for (std::size_t i = 0; i < kRankActivityCount; ++i) {
    const auto activity = static_cast<RankActivity>(i);
    EXPECT_EQ(rank_activity_from_string(to_string(activity)), activity);
  }
  EXPECT_EQ(rank_activity_from_string("asleep"), std::nullopt);
}

}  // namespace
}  // namespace cohort
