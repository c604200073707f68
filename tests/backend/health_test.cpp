// Health as other threads see it while ranks are stuck, stopped and idle.

#include <signal.h>
#include <unistd.h>

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/domain_fixture.hpp"

namespace cohort::host {
namespace {

using namespace std::chrono_literals;
using test::RankResult;
using testing::HasSubstr;

class HealthOfRanks : public RankTest {};
class HealthOfProcesses : public RankTest {};

WaitLimits quick_stalls() {
  WaitLimits limits = test::patient_limits();
  limits.stall = 20ms;
  return limits;
}

/// Asks until `wanted` holds, or for a minute.
Health ask_until(const World& world, const std::function<bool(const Health&)>& wanted) {
  const auto bound = std::chrono::steady_clock::now() + 60s;
  Health health = world.health();
  while (!wanted(health) && std::chrono::steady_clock::now() < bound) {
    sleep_shortly();
    health = world.health();
  }
  return health;
}

bool is(const Health& health, std::uint32_t rank, RankActivity activity) {
  return health.ranks.at(rank).activity == activity;
}

/// Waits for a word of rank 0's.
void await(World& world, WorldRank peer, const SharedWords& words) {
  world.domain().wait_for(
      peer, world.limits().steady, [&] { return words.of(peer.index(), 0).load() == 1; },
      [] {
        return WaitSubject{"barrier", "barrier on tp [0, 1], call 17"};
      });
}

void release(World& world, const SharedWords& words) {
  words.of(world.rank().index(), 0).store(1, std::memory_order_seq_cst);
  world.domain().wake();
}

TEST_P(HealthOfRanks, ShowsWhoIsStuckAndForWhomFromAnotherThread) {
  const auto results = run(
      [&](World& world) {
        const SharedWords words(world.domain());
        const WorldRank last{world.size() - 1};
        if (world.rank() == WorldRank{0}) {
          // What rank 0 waits for is that the others' other threads have seen it.
          for (std::uint32_t rank = 1; rank < world.size(); ++rank) {
            while (words.of(rank, 1).load() == 0) sleep_shortly();
          }
          release(world, words);
          return to_json(world.health());
        }
        Health seen;
        std::thread observer([&] {
          seen = ask_until(world, [&](const Health& health) {
            return is(health, world.rank().index(), RankActivity::stalled) &&
                   is(health, last.index(), RankActivity::stalled) &&
                   !health.ranks[last.index()].wait->subject.empty();
          });
          words.of(world.rank().index(), 1).store(1);
        });
        await(world, WorldRank{0}, words);
        observer.join();
        const RankHealth& mine = seen.ranks.at(world.rank().index());
        EXPECT_EQ(mine.activity, RankActivity::stalled);
        EXPECT_EQ(mine.wait->rank, WorldRank{0});
        EXPECT_EQ(mine.wait->subject, "barrier on tp [0, 1], call 17");
        EXPECT_GT(mine.wait->waited_s, 0.0);
        EXPECT_FALSE(mine.wait->for_idle);
        EXPECT_EQ(mine.stalls, 1U);
        EXPECT_EQ(mine.last_stalled_on, WorldRank{0});
        EXPECT_EQ(seen.ranks[0].activity, RankActivity::joined);
        EXPECT_EQ(seen.verdict(), HealthVerdict::stalled);
        const Health after = world.health();
        EXPECT_EQ(after.ranks[world.rank().index()].activity, RankActivity::joined);
        EXPECT_GT(after.ranks[world.rank().index()].stalled_s, 0.0);
        return to_text(seen);
      },
      quick_stalls());
  expect_no_errors(results);
  for (std::uint32_t rank = 1; rank < count(); ++rank) {
    EXPECT_THAT(results[rank].output,
                HasSubstr("rank " + std::to_string(count() - 1) + "  stalled "));
    EXPECT_THAT(results[rank].output, HasSubstr(" s for rank 0 in barrier on tp [0, 1], call 17"));
  }
}

TEST_P(HealthOfProcesses, ShowsAStoppedProcess) {
  const auto results = run(
      [&](World& world) -> std::string {
        const SharedWords words(world.domain());
        if (world.rank() == WorldRank{0}) {
          ::kill(::getpid(), SIGSTOP);
          release(world, words);
          return {};
        }
        Health seen;
        std::thread observer([&] {
          if (world.rank() != WorldRank{1}) return;
          seen = ask_until(world, [&](const Health& health) {
            return health.ranks[0].stopped && is(health, 1, RankActivity::stalled);
          });
          ::kill(static_cast<pid_t>(seen.ranks[0].pid), SIGCONT);
        });
        await(world, WorldRank{0}, words);
        observer.join();
        return world.rank() == WorldRank{1} ? to_text(seen) : std::string();
      },
      quick_stalls());
  expect_no_errors(results);
  EXPECT_THAT(results[1].output, HasSubstr("is stopped"));
  EXPECT_THAT(results[1].output, HasSubstr("rank 1  stalled"));
}

TEST_P(HealthOfRanks, IdleRanksStallNobodyHoweverLongAndInWhateverChain) {
  WaitLimits limits = quick_stalls();
  limits.steady = 2s;  // the wait lasts for longer
  limits.scale = 1;
  const auto results = run(
      [&](World& world) -> std::string {
        const SharedWords words(world.domain());
        const std::uint32_t mine = world.rank().index();
        if (mine != 0) {
          // Each waits for the one before it, so the last for rank 0 by way of all others; and only
          // once that one waits or is idle: a rank at work would rightly be waited for too long.
          const auto before = mine == 1 ? RankActivity::idle : RankActivity::waiting;
          ask_until(world, [&](const Health& health) { return is(health, mine - 1, before); });
          await(world, WorldRank{mine - 1}, words);
          release(world, words);
          EXPECT_EQ(world.health().ranks[mine].stalls, 0U);
          return {};
        }
        Health seen;
        {
          const Idle outside = world.idle();
          const std::uint32_t last = world.size() - 1;
          seen = ask_until(world, [&](const Health& health) {
            const auto& wait = health.ranks[last].wait;
            return wait && wait->waited_s > 2.4;
          });
        }
        release(world, words);
        return to_text(seen);
      },
      limits);
  expect_no_errors(results);
  EXPECT_THAT(results[0].output, HasSubstr("healthy: "));
  EXPECT_THAT(results[0].output, HasSubstr("rank 0  idle "));
  const std::string last = std::to_string(count() - 1);
  EXPECT_THAT(results[0].output, HasSubstr("rank " + last + "  waiting "));
  EXPECT_THAT(results[0].output, HasSubstr("(outside work)"));
}

TEST_P(HealthOfRanks, TheDeadlineRunsAgainOnceTheRankIsNotIdle) {
  WaitLimits limits = quick_stalls();
  limits.steady = 200ms;
  const auto results = run(
      [&](World& world) -> std::string {
        if (world.rank() == WorldRank{0}) {
          {
            const Idle outside = world.idle();
            const Idle within = world.idle();
            ask_until(world, [&](const Health& health) {
              return health.ranks.back().wait && health.ranks.back().wait->waited_s > 0.5;
            });
          }
          while (!world.domain().poisoned()) sleep_shortly();
          return {};
        }
        world.domain().wait_for(
            WorldRank{0}, world.limits().steady, [] { return false; },
            [] {
              return WaitSubject{"broadcast", "broadcast on tp, call 9"};
            });
        return {};
      },
      limits);
  EXPECT_FALSE(results[0].error);
  for (std::uint32_t rank = 1; rank < count(); ++rank) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::timeout);
    EXPECT_EQ(results[rank].error->rank(), WorldRank{0});
  }
}

TEST_P(HealthOfRanks, ARankThatIsIdleItselfHasNoDeadline) {
  WaitLimits limits = quick_stalls();
  limits.steady = 200ms;
  limits.scale = 1;
  const auto results = run(
      [&](World& world) -> std::string {
        const SharedWords words(world.domain());
        if (world.rank() == WorldRank{0}) {
          ask_until(world, [&](const Health& health) {
            for (std::uint32_t rank = 1; rank < world.size(); ++rank) {
              const auto& wait = health.ranks[rank].wait;
              if (!wait || wait->waited_s < 0.5) return false;
            }
            return true;
          });
          release(world, words);
          return {};
        }
        const Idle next_request = world.idle();
        await(world, WorldRank{0}, words);
        return {};
      },
      limits);
  expect_no_errors(results);
}

TEST_P(HealthOfRanks, AFaultEndsAWaitForOutsideWorkAndIsShown) {
  const auto results = run([&](World& world) -> std::string {
    const SharedWords words(world.domain());
    if (world.rank() == WorldRank{0}) {
      const Idle outside = world.idle();
      while (!world.domain().poisoned()) sleep_shortly();
      return to_json(world.health());
    }
    if (world.rank().index() == world.size() - 1) {
      ask_until(world, [](const Health& health) {
        for (const RankHealth& rank : health.ranks) {
          const bool waits = rank.wait && rank.wait->subject.find("barrier") == 0;
          if (rank.rank.index() + 1 < health.ranks.size() && !waits && !rank.idle_s) return false;
        }
        return true;
      });
      world.fail(Error(ErrorCode::corrupt, "the request is torn", world.rank(), "serve"));
    }
    try {
      await(world, WorldRank{0}, words);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt);
    }
    return to_json(world.health());
  });
  expect_no_errors(results);
  for (const RankResult& result : results) {
    EXPECT_THAT(result.output, HasSubstr(R"("verdict":"failed")"));
    EXPECT_THAT(result.output,
                HasSubstr(R"("fault":{"code":"corrupt","message":"the request is torn","rank":)" +
                          std::to_string(count() - 1) + R"(,"phase":"serve"})"));
  }
}

TEST_P(HealthOfRanks, ALeaverEndsAWaitForOutsideWork) {
  const auto results = run([&](World& world) -> std::string {
    const SharedWords words(world.domain());
    if (world.rank() == WorldRank{0}) {
      const Idle outside = world.idle();
      ask_until(world, [&](const Health& health) { return health.ranks.back().wait.has_value(); });
      return {};
    }
    await(world, WorldRank{0}, words);
    return {};
  });
  for (std::uint32_t rank = 1; rank < count(); ++rank) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::peer_failed);
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, HealthOfRanks,
                         testing::Values(RankSetting{test::RankMode::threads, 2},
                                         RankSetting{test::RankMode::threads, 4},
                                         RankSetting{test::RankMode::processes, 3}),
                         name_of_setting);
INSTANTIATE_TEST_SUITE_P(Ranks, HealthOfProcesses,
                         testing::Values(RankSetting{test::RankMode::processes, 2},
                                         RankSetting{test::RankMode::processes, 3}),
                         name_of_setting);

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// What two ranks write to the log while rank 1 waits twice for rank 0, and rank 0 does `between`.
std::string log_of_two_stalls(const std::function<void(World&)>& hold) {
  testing::internal::CaptureStderr();
  const auto results = test::run_ranks(
      test::RankMode::threads, 2,
      [&](World& world) -> std::string {
        const SharedWords words(world.domain());
        for (std::uint32_t turn = 1; turn <= 2; ++turn) {
          if (world.rank() == WorldRank{0}) {
            hold(world);
            words.of(0, 0).store(turn, std::memory_order_seq_cst);
            world.domain().wake();
            // The next turn begins when this one is over.
            while (words.of(1, 0).load() != turn) sleep_shortly();
            continue;
          }
          world.domain().wait_for(
              WorldRank{0}, 60s, [&] { return words.of(0, 0).load() == turn; },
              [&] {
                return WaitSubject{"barrier", "barrier on tp, call " + std::to_string(turn)};
              });
          words.of(1, 0).store(turn, std::memory_order_seq_cst);
        }
        return {};
      },
      quick_stalls());
  std::string text = testing::internal::GetCapturedStderr();
  test::expect_no_errors(results);
  return text;
}

TEST(StallLog, HasOneLineForEachStall) {
  const std::string text = log_of_two_stalls([](World& world) {
    ask_until(world, [](const Health& health) {
      // Several looks past the limit, each of which might have written a line.
      return is(health, 1, RankActivity::stalled) && health.ranks[1].wait->waited_s > 0.5;
    });
  });
  EXPECT_EQ(count_of(text, "\n"), 2U) << text;
  for (const char* call : {"call 1", "call 2"}) {
    EXPECT_EQ(count_of(text, std::string(" s for rank 0 in barrier on tp, ") + call +
                                 "; rank 0 waits for nobody\n"),
              1U)
        << text;
  }
  EXPECT_EQ(count_of(text, "cohort: warning: rank 1 has waited "), 2U) << text;
}

TEST(StallLog, IsSilentAboutIdleRanks) {
  const std::string text = log_of_two_stalls([](World& world) {
    const Idle outside = world.idle();
    ask_until(world, [](const Health& health) {
      return health.ranks[1].wait && health.ranks[1].wait->waited_s > 0.3;
    });
  });
  EXPECT_EQ(text, "");
}

TEST(IdleMark, MayOutliveItsWorldAndMoves) {
  std::optional<Idle> kept;
  {
    World world = World::join(Bootstrap::solo());
    kept.emplace(world.idle());
    Idle other = world.idle();
    EXPECT_TRUE(world.health().ranks[0].idle_s);
    other = std::move(*kept);
    EXPECT_TRUE(world.health().ranks[0].idle_s);
    *kept = std::move(other);
    EXPECT_EQ(world.health().ranks[0].activity, RankActivity::idle);
  }
  kept.reset();
  World world = World::join(Bootstrap::solo());
  { const Idle once = world.idle(); }
  EXPECT_EQ(world.health().ranks[0].activity, RankActivity::joined);
}

}  // namespace
}  // namespace cohort::host
