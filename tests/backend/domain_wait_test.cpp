#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/domain_fixture.hpp"

namespace cohort::host {
namespace {

using namespace std::chrono_literals;
using test::RankResult;
using testing::HasSubstr;

class DomainWait : public RankTest {};
class DomainWaitForPeer : public RankTest {};
class DomainWaitForLeaver : public RankTest {};

TEST_P(DomainWait, SeesWhatPeersPublishBeforeTheyWake) {
  const auto results = run([&](World& world) {
    enum : std::size_t { sequence, data };
    const SharedWords words(world.domain());
    const std::uint32_t mine = world.rank().index();
    const std::uint32_t next = (mine + 1) % world.size();
    const std::uint32_t before = (mine + world.size() - 1) % world.size();
    const auto publish = [&](std::uint32_t value) {
      words.of(mine, sequence).store(value, std::memory_order_seq_cst);
      world.domain().wake();
    };
    const auto await = [&](std::uint32_t rank, std::uint32_t value) {
      world.domain().wait_for(
          WorldRank{rank}, 60s,
          [&] { return words.of(rank, sequence).load(std::memory_order_acquire) >= value; },
          [] {
            return WaitSubject{"test", "a turn"};
          });
    };
    for (std::uint32_t turn = 1; turn <= 200; ++turn) {
      words.of(mine, data).store(turn * 10 + mine, std::memory_order_relaxed);
      publish(2 * turn - 1);
      await(next, 2 * turn - 1);
      EXPECT_EQ(words.of(next, data).load(std::memory_order_relaxed), turn * 10 + next);
      publish(2 * turn);
      await(before, 2 * turn);
    }
    return std::string();
  });
  expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Ranks, DomainWait, testing::ValuesIn(kAllSettings), name_of_setting);

TEST_P(DomainWaitForPeer, ThatLeftNamesIt) {
  const auto results = run([&](World& world) -> std::string {
    if (world.rank().index() == 0) return "left in order";
    world.domain().wait_for(
        WorldRank{0}, 60s, [] { return false; },
        [] {
          return WaitSubject{"all_gather", "all_gather on tp, call 1"};
        });
    return {};
  });
  EXPECT_FALSE(results[0].error);
  for (std::uint32_t rank = 1; rank < count(); ++rank) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::peer_failed);
    EXPECT_EQ(results[rank].error->rank(), WorldRank{0});
    EXPECT_EQ(results[rank].error->phase(), "all_gather");
    EXPECT_EQ(std::string(results[rank].error->what()),
              "rank 0 left (rank " + std::to_string(rank) +
                  " was waiting for rank 0 in all_gather on tp, call 1)");
  }
}

TEST_P(DomainWaitForPeer, ThatLeftAfterItsLastWordSucceeds) {
  const auto results = run([&](World& world) -> std::string {
    const SharedWords words(world.domain());
    std::atomic<std::uint32_t>& word = words.of(0, 0);
    if (world.rank().index() == 0) {
      word.store(1, std::memory_order_seq_cst);
      world.domain().wake();
      return {};
    }
    std::this_thread::sleep_for(20ms);
    world.domain().wait_for(
        WorldRank{0}, 60s, [&] { return word.load() == 1; },
        [] {
          return WaitSubject{"barrier", "the last barrier"};
        });
    return {};
  });
  expect_no_errors(results);
}

// The peer acts and leaves right after this rank has looked in vain, whichever look that is.
TEST_P(DomainWaitForLeaver, SucceedsIfItActsAndLeavesBetweenTwoLooks) {
  constexpr std::uint32_t kLooks = 5;
  for (std::uint32_t last_vain_look = 1; last_vain_look <= kLooks; ++last_vain_look) {
    const auto results = run([&](World& world) -> std::string {
      enum : std::size_t { acted, looked };
      const SharedWords words(world.domain());
      std::atomic<std::uint32_t>& word = words.of(0, acted);
      if (world.rank().index() == 0) {
        while (words.of(0, looked).load() + 1 < world.size()) sleep_shortly();
        word.store(1, std::memory_order_seq_cst);
        world.domain().wake();
        return {};
      }
      std::uint32_t looks = 0;
      const auto ready = [&] {
        const bool seen = word.load() == 1;
        if (++looks == last_vain_look) {
          words.of(0, looked).fetch_add(1);
          while (word.load() == 0) sleep_shortly();
          std::this_thread::sleep_for(50ms);  // time to leave
        }
        return seen;
      };
      world.domain().wait_until(WorldRank{0}, world.domain().deadline_after(60s), ready, [] {
        return WaitSubject{"close", "the last exchange"};
      });
      return {};
    });
    expect_no_errors(results);
  }
}

TEST_P(DomainWaitForPeer, ThatIsLateTimesOutOnEveryRank) {
  WaitLimits limits = test::patient_limits();
  limits.steady = 150ms;
  limits.stall = 20ms;
  const auto results = run(
      [&](World& world) -> std::string {
        if (world.rank().index() == 0) {  // late, but alive
          while (!world.domain().poisoned()) sleep_shortly();
          world.check();
        }
        world.domain().wait_for(
            WorldRank{0}, world.limits().steady, [] { return false; },
            [] {
              return WaitSubject{"broadcast", "broadcast on tp, call 9"};
            });
        return {};
      },
      limits);
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::timeout);
    EXPECT_EQ(result.error->rank(), WorldRank{0});
    EXPECT_EQ(result.error->phase(), "broadcast");
    EXPECT_THAT(result.error->what(), HasSubstr("for rank 0 in broadcast on tp, call 9"));
  }
}

TEST_P(DomainWaitForPeer, ThatWaitsItselfNamesTheOneAtTheEndOfTheChain) {
  WaitLimits limits = test::patient_limits();
  limits.steady = 300ms;
  limits.stall = 10ms;
  const std::uint32_t last = count() - 1;
  const auto results = run(
      [&](World& world) -> std::string {
        const std::uint32_t mine = world.rank().index();
        if (mine == last) {
          while (!world.domain().poisoned()) sleep_shortly();
          world.check("doing something else");
        }
        // Each waits for the next; the first to wait has the nearest deadline.
        const auto limit = mine == 0 ? world.limits().steady : 60s;
        world.domain().wait_for(
            WorldRank{mine + 1}, limit, [] { return false; },
            [] {
              return WaitSubject{"barrier", "barrier on world"};
            });
        return {};
      },
      limits);
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::timeout);
    EXPECT_EQ(result.error->rank(), WorldRank{last}) << result.error->what();
  }
  EXPECT_THAT(results[last].error->what(),
              HasSubstr("(rank " + std::to_string(last) + " was doing something else)"));
}

TEST_P(DomainWaitForPeer, CanBeAskedAboutFromElsewhere) {
  WaitLimits limits = test::patient_limits();
  limits.stall = 10ms;
  const auto results = run(
      [&](World& world) {
        Domain& domain = world.domain();
        const SharedWords words(domain);
        std::atomic<std::uint32_t>& seen = words.of(0, 0);
        if (world.rank().index() != 0) {
          domain.wait_for(
              WorldRank{0}, 60s, [&] { return seen.load() == 1; },
              [] {
                return WaitSubject{"barrier", "barrier on world, call 1"};
              });
          return std::string();
        }
        const WorldRank last{world.size() - 1};
        const auto bound = std::chrono::steady_clock::now() + 60s;
        std::string subject;
        while (subject.empty() && std::chrono::steady_clock::now() < bound) {
          const auto waiting = domain.waiting(last);
          if (waiting && waiting->peer == WorldRank{0}) subject = waiting->subject;
          sleep_shortly();
        }
        seen.store(1, std::memory_order_seq_cst);
        domain.wake();
        return subject;
      },
      limits);
  expect_no_errors(results);
  EXPECT_EQ(results[0].output, "barrier on world, call 1");
}

INSTANTIATE_TEST_SUITE_P(Ranks, DomainWaitForLeaver,
                         testing::Values(RankSetting{test::RankMode::threads, 3},
                                         RankSetting{test::RankMode::processes, 2}),
                         name_of_setting);
INSTANTIATE_TEST_SUITE_P(Ranks, DomainWaitForPeer, testing::ValuesIn(kPeerSettings),
                         name_of_setting);

}  // namespace
}  // namespace cohort::host
