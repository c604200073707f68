#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>

namespace cohort {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Bootstrap::TimePoint in(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ThreadBootstrapTest : public testing::TestWithParam<std::uint32_t> {};

TEST_P(ThreadBootstrapTest, EveryRankGetsEveryRanksBytesInEveryRound) {
  run_ranks_as_threads(GetParam(), [&](std::unique_ptr<Bootstrap> bootstrap) {
    EXPECT_EQ(bootstrap->world_size(), GetParam());
    for (int round = 0; round < 50; ++round) {
      const auto text = [&](std::uint32_t rank) {
        return std::string(rank, 'x') + std::to_string(rank * 100 + static_cast<unsigned>(round));
      };
      const std::string mine = text(bootstrap->rank().index());
      const auto all = bootstrap->all_gather(std::as_bytes(std::span(mine)), in(60s));
      ASSERT_EQ(all.size(), GetParam());
      for (std::uint32_t rank = 0; rank < GetParam(); ++rank) {
        EXPECT_EQ(text_of(all[rank]), text(rank));
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, ThreadBootstrapTest, testing::Values(1u, 2u, 3u, 5u, 8u));

TEST(ThreadBootstrap, AMissingRankIsNamedAtTheDeadline) {
  std::atomic<bool> done{false};
  try {
    run_ranks_as_threads(3, [&](std::unique_ptr<Bootstrap> bootstrap) {
      if (bootstrap->rank() == WorldRank{1}) {
        while (!done.load()) std::this_thread::sleep_for(1ms);
        return;
      }
      try {
        bootstrap->all_gather({}, in(50ms));
      } catch (...) {
        done.store(true);
        throw;
      }
    });
    FAIL() << "nobody missed rank 1";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::timeout);
    EXPECT_EQ(error.rank(), WorldRank{1});
    EXPECT_THAT(error.what(), HasSubstr("rank 1"));
  }
}

TEST(ThreadBootstrap, ARankThatEndedIsNamedAtOnce) {
  try {
    run_ranks_as_threads(3, [&](std::unique_ptr<Bootstrap> bootstrap) {
      if (bootstrap->rank() == WorldRank{2}) return;
      bootstrap->all_gather({}, in(1h));
    });
    FAIL() << "nobody missed rank 2";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::peer_failed);
    EXPECT_EQ(error.rank(), WorldRank{2});
  }
}

TEST(ThreadBootstrap, TheCauseIsRethrownNotItsConsequences) {
  const auto body = [&](std::unique_ptr<Bootstrap> bootstrap) {
    if (bootstrap->rank() == WorldRank{2}) {
      const auto kept = std::move(bootstrap);
      throw std::runtime_error("the cause");
    }
    bootstrap->all_gather({}, in(1h));
  };
  try {
    run_ranks_as_threads(3, body);
    FAIL() << "swallowed";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "the cause");
  }
}

TEST(ThreadBootstrap, OfARepeatedFaultThePlainFormIsRethrown) {
  try {
    run_ranks_as_threads(2, [&](std::unique_ptr<Bootstrap> bootstrap) {
      if (bootstrap->rank() == WorldRank{1}) std::this_thread::sleep_for(20ms);
      throw Error(ErrorCode::corrupt,
                  bootstrap->rank() == WorldRank{1} ? "torn" : "torn (rank 0 was waiting)");
    });
    FAIL() << "swallowed";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "torn");
  }
}

TEST(ThreadBootstrap, NoRanksAreWrongUse) {
  EXPECT_THROW(run_ranks_as_threads(0, [](std::unique_ptr<Bootstrap>) {}), Error);
}

TEST(SoloBootstrap, GathersItsOwnBytes) {
  const auto bootstrap = Bootstrap::solo();
  const std::string mine = "me";
  const auto all = bootstrap->all_gather(std::as_bytes(std::span(mine)), in(1s));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(text_of(all[0]), "me");
}

}  // namespace
}  // namespace cohort
