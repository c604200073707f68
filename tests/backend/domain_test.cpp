#include "backend/host/domain.hpp"

#include <atomic>
#include <barrier>
#include <cstring>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/ranks.hpp"

namespace cohort::host {
namespace {

using namespace std::chrono_literals;
using test::RankMode;
using test::RankResult;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

class DomainRanks : public testing::TestWithParam<std::uint32_t> {
 protected:
  std::vector<RankResult> run(const test::RankBody& body,
                              const WaitLimits& limits = test::patient_limits()) const {
    return test::run_ranks(RankMode::threads, GetParam(), body, limits);
  }
};

TEST_P(DomainRanks, GatherBytesOfDifferentSizesInEveryRound) {
  // Sizes around a mailbox's capacity, none, and several rounds; different on every rank.
  const auto size_of = [](std::uint32_t rank, std::size_t turn) {
    constexpr std::size_t kSizes[] = {0, 1, 8143, 8144, 8145, 50'000, 16'288, 3};
    return kSizes[(rank + turn) % std::size(kSizes)];
  };
  const auto results = run([&](World& world) {
    Domain& domain = world.domain();
    for (std::size_t turn = 0; turn < 8; ++turn) {
      const std::vector<std::byte> mine(size_of(world.rank().index(), turn),
                                        std::byte(world.rank().index() * 16 + turn));
      const auto all = domain.all_gather(mine, "test", domain.deadline_after(60s));
      EXPECT_EQ(all.size(), world.size());
      for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
        EXPECT_EQ(all[rank],
                  std::vector<std::byte>(size_of(rank, turn), std::byte(rank * 16 + turn)));
      }
    }
    return std::string();
  });
  expect_no_errors(results);
}

TEST_P(DomainRanks, GatherDescriptorsOfAllRanks) {
  const auto results = run([&](World& world) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const UniqueFd read_end(ends[0]), write_end(ends[1]);
    Domain& domain = world.domain();
    auto fds = domain.all_gather_fd(write_end.get(), "test", domain.deadline_after(60s));
    const char mine = static_cast<char>('a' + world.rank().index());
    for (const UniqueFd& fd : fds) EXPECT_EQ(::write(fd.get(), &mine, 1), 1);
    std::string heard;
    while (heard.size() < world.size()) {
      char letter = 0;
      if (::read(read_end.get(), &letter, 1) != 1) break;
      heard += letter;
    }
    std::sort(heard.begin(), heard.end());
    return heard;
  });
  expect_no_errors(results);
  for (const RankResult& result : results) {
    EXPECT_EQ(result.output, std::string("abcdefgh").substr(0, GetParam()));
  }
}

TEST_P(DomainRanks, WaitsSeeWhatPeersPublishBeforeTheyWake) {
  std::vector<std::atomic<std::uint32_t>> published(GetParam());
  std::vector<std::uint32_t> data(GetParam());
  const auto results = run([&](World& world) {
    const std::uint32_t mine = world.rank().index();
    const std::uint32_t next = (mine + 1) % world.size();
    for (std::uint32_t turn = 1; turn <= 200; ++turn) {
      data[mine] = turn * 10 + mine;
      published[mine].store(2 * turn - 1, std::memory_order_seq_cst);
      world.domain().wake();
      const auto reached = [&](std::uint32_t rank, std::uint32_t value) {
        world.domain().wait_for(
            WorldRank{rank}, 60s,
            [&] { return published[rank].load(std::memory_order_acquire) >= value; },
            [] {
              return WaitSubject{"test", "a turn"};
            });
      };
      reached(next, 2 * turn - 1);
      EXPECT_EQ(data[next], turn * 10 + next);
      published[mine].store(2 * turn, std::memory_order_seq_cst);
      world.domain().wake();
      reached((mine + world.size() - 1) % world.size(), 2 * turn);
    }
    return std::string();
  });
  expect_no_errors(results);
}

TEST_P(DomainRanks, EveryRankEndsWithTheFirstFault) {
  if (GetParam() < 2) GTEST_SKIP() << "needs a peer";
  const std::uint32_t last = GetParam() - 1;
  const auto results = run([&](World& world) {
    if (world.rank().index() == last) {
      world.fail(Error(ErrorCode::corrupt, "the file is torn", WorldRank{last}, "load"));
      world.fail(Error(ErrorCode::usage, "a later fault changes nothing"));
    }
    world.domain().wait_for(
        WorldRank{last}, 60s, [] { return false; },
        [] {
          return WaitSubject{"barrier", "barrier on world, call 3"};
        });
    return std::string();
  });
  for (std::uint32_t rank = 0; rank < GetParam(); ++rank) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::corrupt);
    EXPECT_EQ(results[rank].error->rank(), WorldRank{last});
    EXPECT_EQ(results[rank].error->phase(), "load");
    EXPECT_THAT(results[rank].error->what(), StartsWith("the file is torn (rank "));
    EXPECT_THAT(results[rank].error->what(), HasSubstr("in barrier on world, call 3)"));
  }
}

TEST_P(DomainRanks, CompetingFaultsLeaveExactlyOneOnAllRanks) {
  const auto results = run([&](World& world) -> std::string {
    world.domain().fail(
        Error(ErrorCode::usage, "fault of " + std::to_string(world.rank().index())));
  });
  const std::string first = results[0].error->what();
  const std::string text = first.substr(0, std::string("fault of 0").size());
  for (const RankResult& result : results) EXPECT_THAT(result.error->what(), StartsWith(text));
}

TEST_P(DomainRanks, APeerThatLeftIsNamedByThoseWhoWaitForIt) {
  if (GetParam() < 2) GTEST_SKIP() << "needs a peer";
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
  for (std::uint32_t rank = 1; rank < GetParam(); ++rank) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::peer_failed);
    EXPECT_EQ(results[rank].error->rank(), WorldRank{0});
    EXPECT_EQ(results[rank].error->phase(), "all_gather");
    EXPECT_STREQ(results[rank].error->what(),
                 ("rank 0 left (rank " + std::to_string(rank) +
                  " was waiting for rank 0 in all_gather on tp, call 1)")
                     .c_str());
  }
}

TEST_P(DomainRanks, ALateRankIsNamedAndEveryRankTimesOut) {
  if (GetParam() < 2) GTEST_SKIP() << "needs a peer";
  WaitLimits limits = test::patient_limits();
  limits.steady = 150ms;
  limits.stall = 20ms;
  std::atomic<std::uint32_t> ended{0};
  const auto results = run(
      [&](World& world) -> std::string {
        if (world.rank().index() == 0) {  // late, but alive: ends only after all others have
          while (ended.load() + 1 < world.size()) std::this_thread::sleep_for(1ms);
          world.check();
          return {};
        }
        try {
          world.domain().wait_for(
              WorldRank{0}, world.limits().steady, [] { return false; },
              [] {
                return WaitSubject{"broadcast", "broadcast on tp, call 9"};
              });
        } catch (...) {
          ended.fetch_add(1);
          throw;
        }
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

TEST_P(DomainRanks, ExchangesOfDifferentNamesAreAMismatch) {
  if (GetParam() < 2) GTEST_SKIP() << "needs a peer";
  const auto results = run([&](World& world) -> std::string {
    Domain& domain = world.domain();
    domain.all_gather(bytes_of("x"), world.rank().index() == 0 ? "close" : "commit",
                      domain.deadline_after(60s));
    return {};
  });
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::mismatch);
    EXPECT_THAT(result.error->what(), HasSubstr("close"));
    EXPECT_THAT(result.error->what(), HasSubstr("commit"));
  }
}

TEST_P(DomainRanks, AGenerationCommitsOnlyIfAllAreReady) {
  std::atomic<std::uint32_t> arrived{0};
  const std::uint32_t last = GetParam() - 1;
  const auto results = run([&](World& world) {
    Domain& domain = world.domain();
    const bool is_last = world.rank().index() == last;
    std::string outcomes;
    for (std::uint32_t generation = 1; generation <= 60; ++generation) {
      // Every third generation the last rank is not ready; every fourth it is slow to say so.
      if (is_last && generation % 4 == 0) std::this_thread::sleep_for(200us);
      const bool ready = !is_last || generation % 3 != 0;
      const auto outcome = domain.decide(generation, ready, domain.deadline_after(60s));
      outcomes += outcome == CommitOutcome::committed ? 'c' : 'a';
    }
    arrived.fetch_add(1);
    return outcomes;
  });
  expect_no_errors(results);
  std::string expected;
  for (std::uint32_t generation = 1; generation <= 60; ++generation) {
    expected += generation % 3 == 0 ? 'a' : 'c';
  }
  for (const RankResult& result : results) EXPECT_EQ(result.output, expected);
}

TEST_P(DomainRanks, AGenerationIsAbortedForARankThatComesTooLate) {
  if (GetParam() < 2) GTEST_SKIP() << "needs a peer";
  std::atomic<std::uint32_t> decided{0};
  const auto results = run([&](World& world) {
    Domain& domain = world.domain();
    if (world.rank().index() == 0) {
      while (decided.load() + 1 < world.size()) std::this_thread::sleep_for(1ms);
    }
    const auto first = domain.decide(1, true, domain.deadline_after(30ms));
    decided.fetch_add(1);
    // A generation that was aborted is no obstacle to the next.
    const auto second = domain.decide(2, true, domain.deadline_after(60s));
    return std::string(first == CommitOutcome::aborted ? "aborted" : "committed") +
           (second == CommitOutcome::committed ? " committed" : " aborted");
  });
  expect_no_errors(results);
  for (const RankResult& result : results) EXPECT_EQ(result.output, "aborted committed");
}

TEST_P(DomainRanks, RefuseAGenerationOutOfOrder) {
  const auto results = run([&](World& world) {
    world.domain().decide(2, true, world.domain().deadline_after(1s));
    return std::string();
  });
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::usage);
  }
}

TEST_P(DomainRanks, OtherThreadsCanAskWhatARankWaitsFor) {
  if (GetParam() < 2) GTEST_SKIP() << "needs a peer";
  WaitLimits limits = test::patient_limits();
  limits.stall = 10ms;
  std::atomic<bool> seen{false};
  const auto results = run(
      [&](World& world) {
        Domain& domain = world.domain();
        if (world.rank().index() != 0) {
          domain.wait_for(
              WorldRank{0}, 60s, [&] { return seen.load(); },
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
          std::this_thread::sleep_for(1ms);
        }
        seen.store(true, std::memory_order_seq_cst);
        domain.wake();
        return subject;
      },
      limits);
  expect_no_errors(results);
  EXPECT_EQ(results[0].output, "barrier on world, call 1");
}

INSTANTIATE_TEST_SUITE_P(Threads, DomainRanks, testing::Values(1u, 2u, 3u, 4u, 5u, 8u),
                         [](const auto& p) { return std::to_string(p.param) + "_ranks"; });

}  // namespace
}  // namespace cohort::host
