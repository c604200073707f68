#include "faults/rank_processes.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "base/clock.hpp"
#include "faults/shared_region.hpp"

namespace cohort::faults {
namespace {

using namespace std::chrono_literals;

Watchdog patient() {
  return {.idle = 60s, .total = 60s};
}

TEST(RankProcesses, TellWhatTheySawAndHowTheyEnded) {
  SharedRegion region;
  auto& met = region.make<std::atomic<std::uint32_t>>(0U);
  const auto ends = run_ranks(4, patient(), [&](Rank& rank) {
    met.fetch_add(1);
    rank.wait_for_ever("meeting", [&] { return met.load() == 4; });
    const std::vector<float> values = {1, 2, 3};
    rank.count_copied(12);
    switch (rank.index()) {
      case 0:
        rank.expect("three", values, std::vector<float>{1, 2, 3});
        rank.say("well");
        return;
      case 1: rank.expect("three", values, 1); return;
      case 2: throw Error(ErrorCode::mismatch, "unequal", WorldRank{3});
      default: ::kill(::getpid(), SIGKILL);
    }
  });
  ASSERT_EQ(ends.size(), 4U);
  EXPECT_EQ(ends[0].kind, RankEnd::Kind::finished);
  EXPECT_EQ(ends[0].said, "well");
  EXPECT_EQ(ends[0].doing, "meeting");
  EXPECT_EQ(ends[0].copied_bytes, 12U);
  EXPECT_EQ(ends[0].wrong_values, 0U);
  EXPECT_EQ(ends[1].wrong_values, 2U);
  EXPECT_EQ(ends[1].wrong, "element 1 of three is 2 instead of 1");
  ASSERT_TRUE(ends[2].error.has_value());
  EXPECT_EQ(ends[2].error->code(), ErrorCode::mismatch);
  EXPECT_STREQ(ends[2].error->what(), "unequal");
  EXPECT_EQ(ends[2].error->rank(), WorldRank{3});
  EXPECT_EQ(ends[3].kind, RankEnd::Kind::died);
  EXPECT_EQ(ends[3].signal, SIGKILL);
}

TEST(RankProcesses, AnotherExceptionAndAnExitAreTold) {
  const auto ends = run_ranks(2, patient(), [](Rank& rank) {
    if (rank.index() == 0) throw std::runtime_error("something else");
    ::_exit(0);
  });
  ASSERT_TRUE(ends[0].error.has_value());
  EXPECT_STREQ(ends[0].error->what(), "something else");
  EXPECT_EQ(ends[1].kind, RankEnd::Kind::died);
  EXPECT_EQ(ends[1].signal, 0);
}

TEST(RankProcesses, TheWatchdogEndsThoseThatWaitForEver) {
  const auto ends = run_ranks(3, {.idle = 200ms, .total = 60s}, [](Rank& rank) {
    if (rank.index() == 1) return;
    rank.wait_for_ever("a wait without end", [] { return false; });
  });
  EXPECT_EQ(ends[0].kind, RankEnd::Kind::hung);
  EXPECT_EQ(ends[0].doing, "a wait without end");
  EXPECT_EQ(ends[1].kind, RankEnd::Kind::finished);
  EXPECT_EQ(ends[2].kind, RankEnd::Kind::hung);
}

TEST(RankProcesses, TheWatchdogEndsThoseThatAreBusyForEver) {
  const auto ends = run_ranks(1, {.idle = 60s, .total = 200ms}, [](Rank& rank) {
    while (true) {
      rank.doing("the same again");
      std::this_thread::sleep_for(1ms);
    }
  });
  EXPECT_EQ(ends[0].kind, RankEnd::Kind::hung);
}

TEST(RankProcesses, LongWordsAreCut) {
  const auto ends = run_ranks(1, patient(), [](Rank& rank) {
    rank.say(std::string(100'000, 'x'));
    throw Error(ErrorCode::usage, std::string(100'000, 'y'));
  });
  EXPECT_EQ(ends[0].said, std::string(1023, 'x'));
  EXPECT_EQ(ends[0].error->what(), std::string(2047, 'y'));
}

TEST(RankProcesses, EqualTextsAreToldOnce) {
  std::vector<RankEnd> ends(4);
  ends[0].said = ends[3].said = "one";
  ends[1].said = "two";
  EXPECT_EQ(by_text(ends, [](const RankEnd& end) { return end.said; }),
            "ranks 0, 3: one; rank 1: two");
}

TEST(RankProcesses, RunsOfRanksAreNamedShortly) {
  const auto name = [](std::vector<std::uint32_t> ranks) { return name_ranks(ranks); };
  EXPECT_EQ(name({7}), "rank 7");
  EXPECT_EQ(name({0, 1}), "ranks 0, 1");
  EXPECT_EQ(name({0, 1, 2}), "ranks 0-2");
  EXPECT_EQ(name({0, 2, 3, 4, 6, 8, 9}), "ranks 0, 2-4, 6, 8, 9");
}

}  // namespace
}  // namespace cohort::faults
