#include "backend/host/domain.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/bootstrap.hpp>

#include "backend/domain_fixture.hpp"
#include "backend/host/control_socket.hpp"

namespace cohort::host {
namespace {

using namespace std::chrono_literals;
using test::RankResult;
using testing::HasSubstr;
using testing::StartsWith;

class DomainRanks : public RankTest {};
class DomainPeers : public RankTest {};

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
    const auto fds = domain.all_gather_fd(write_end.get(), "test", domain.deadline_after(60s));
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
    EXPECT_EQ(result.output, std::string("abcdefgh").substr(0, count()));
  }
}

TEST(DomainDescriptors, ARankWithoutRoomForThemSaysSo) {
  const auto results = test::run_ranks(test::RankMode::processes, 2, [](World& world) {
    const UniqueFd mine(::dup(STDERR_FILENO));
    if (world.rank() == WorldRank{1}) {
      // The least number that is free becomes the limit: nothing more can be opened.
      const UniqueFd lowest(::dup(STDERR_FILENO));
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = static_cast<rlim_t>(lowest.get());
      EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    Domain& domain = world.domain();
    domain.all_gather_fd(mine.get(), "test", domain.deadline_after(60s));
    domain.all_gather({}, "test", domain.deadline_after(60s));
    return std::string();
  });
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::system);
    EXPECT_EQ(result.error->rank(), WorldRank{1});
    EXPECT_THAT(result.error->what(), HasSubstr("too many open files for what rank 0 shares"));
    EXPECT_THAT(result.error->what(), HasSubstr("ulimit -n"));
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

TEST_P(DomainRanks, AFaultLongerThanTheRecordIsCutNotLost) {
  const auto results = run([&](World& world) -> std::string {
    world.fail(Error(ErrorCode::corrupt, std::string(5000, 'x'), WorldRank{0}, "load"));
    world.check();
    return {};
  });
  for (const RankResult& result : results) {
    EXPECT_EQ(std::string(result.error->what()), std::string(4000, 'x'));
  }
}

TEST_P(DomainRanks, AGenerationCommitsOnlyIfAllAreReady) {
  const std::uint32_t last = count() - 1;
  const auto results = run([&](World& world) {
    Domain& domain = world.domain();
    const bool is_last = world.rank().index() == last;
    std::string outcomes;
    for (std::uint32_t generation = 1; generation <= 60; ++generation) {
      EXPECT_EQ(domain.next_generation(), generation);
      // Every third generation the last rank is not ready; every fourth it is slow to say so.
      if (is_last && generation % 4 == 0) std::this_thread::sleep_for(200us);
      const bool ready = !is_last || generation % 3 != 0;
      const auto outcome = domain.decide(generation, ready, domain.deadline_after(60s));
      outcomes += outcome == CommitOutcome::committed ? 'c' : 'a';
    }
    return outcomes;
  });
  expect_no_errors(results);
  std::string expected;
  for (std::uint32_t generation = 1; generation <= 60; ++generation) {
    expected += generation % 3 == 0 ? 'a' : 'c';
  }
  for (const RankResult& result : results) EXPECT_EQ(result.output, expected);
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

INSTANTIATE_TEST_SUITE_P(Ranks, DomainRanks, testing::ValuesIn(kAllSettings), name_of_setting);

TEST_P(DomainPeers, EveryRankEndsWithTheFirstFault) {
  const std::uint32_t last = count() - 1;
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
  for (std::uint32_t rank = 0; rank < count(); ++rank) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::corrupt);
    EXPECT_EQ(results[rank].error->rank(), WorldRank{last});
    EXPECT_EQ(results[rank].error->phase(), "load");
    EXPECT_THAT(results[rank].error->what(), StartsWith("the file is torn (rank "));
    EXPECT_THAT(results[rank].error->what(), HasSubstr("in barrier on world, call 3)"));
  }
}

TEST_P(DomainPeers, ExchangesOfDifferentNamesAreAMismatch) {
  const auto results = run([&](World& world) -> std::string {
    Domain& domain = world.domain();
    domain.all_gather({}, world.rank().index() == 0 ? "close" : "commit",
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

TEST_P(DomainPeers, AGenerationIsAbortedForARankThatComesTooLate) {
  const auto results = run([&](World& world) {
    Domain& domain = world.domain();
    const SharedWords words(domain);
    const auto all_others_decided = [&] {
      for (std::uint32_t rank = 1; rank < world.size(); ++rank) {
        if (words.of(rank, 0).load() == 0) return false;
      }
      return true;
    };
    if (world.rank().index() == 0) {
      while (!all_others_decided()) sleep_shortly();
    }
    const auto first = domain.decide(1, true, domain.deadline_after(30ms));
    words.of(world.rank().index(), 0).store(1);
    // A generation that was aborted is no obstacle to the next.
    const auto second = domain.decide(2, true, domain.deadline_after(60s));
    return std::string(first == CommitOutcome::aborted ? "aborted" : "committed") +
           (second == CommitOutcome::committed ? " committed" : " aborted");
  });
  expect_no_errors(results);
  for (const RankResult& result : results) EXPECT_EQ(result.output, "aborted committed");
}

TEST_P(DomainPeers, AFaultAbortsAPendingGeneration) {
  const auto results = run([&](World& world) -> std::string {
    Domain& domain = world.domain();
    if (world.rank().index() == 0) world.fail(Error(ErrorCode::corrupt, "torn"));
    const bool aborted =
        world.rank().index() == 0 ||
        domain.decide(1, true, domain.deadline_after(60s)) == CommitOutcome::aborted;
    EXPECT_TRUE(aborted);
    world.check();
    return {};
  });
  for (const RankResult& result : results) EXPECT_EQ(result.error->code(), ErrorCode::corrupt);
}

INSTANTIATE_TEST_SUITE_P(Ranks, DomainPeers, testing::ValuesIn(kPeerSettings), name_of_setting);

/// Lets a test change what a rank says to the others.
class ChangingBootstrap final : public Bootstrap {
 public:
  ChangingBootstrap(std::unique_ptr<Bootstrap> inner,
                    std::function<void(std::vector<std::byte>&)> change)
      : inner_(std::move(inner)), change_(std::move(change)) {}
  WorldRank rank() const noexcept override { return inner_->rank(); }
  std::uint32_t world_size() const noexcept override { return inner_->world_size(); }
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                 TimePoint deadline) override {
    std::vector<std::byte> bytes(mine.begin(), mine.end());
    change_(bytes);
    return inner_->all_gather(bytes, deadline);
  }

 private:
  std::unique_ptr<Bootstrap> inner_;
  std::function<void(std::vector<std::byte>&)> change_;
};

std::vector<std::string> join_with_change(std::function<void(std::vector<std::byte>&)> change) {
  std::vector<std::string> messages(3);
  EXPECT_THROW(run_ranks_as_threads(3,
                                    [&](std::unique_ptr<Bootstrap> bootstrap) {
                                      const std::size_t rank = bootstrap->rank().index();
                                      if (rank == 1) {
                                        bootstrap = std::make_unique<ChangingBootstrap>(
                                            std::move(bootstrap), change);
                                      }
                                      try {
                                        World::join(std::move(bootstrap), test::patient_limits());
                                      } catch (const Error& error) {
                                        messages[rank] = std::string(to_string(error.code())) +
                                                         ": " + error.what();
                                        throw;
                                      }
                                    }),
               Error);
  return messages;
}

TEST(DomainJoin, RanksOfDifferentVersionsAreAMismatchOnEveryRank) {
  constexpr std::size_t kVersionBytesAt = 8 + 4 + 8;  // magic, protocol, length
  const auto messages = join_with_change(
      [](std::vector<std::byte>& bytes) { bytes[kVersionBytesAt] = std::byte{'9'}; });
  for (const std::string& message : messages) EXPECT_THAT(message, StartsWith("mismatch: rank "));
  EXPECT_THAT(messages[0], HasSubstr("rank 1 runs cohort 9."));
  EXPECT_THAT(messages[2], HasSubstr("rank 1 runs cohort 9."));
}

/// Once names are exchanged, lets everybody of this host connect to every rank before the ranks do.
class CrowdedBootstrap final : public Bootstrap {
 public:
  CrowdedBootstrap(std::unique_ptr<Bootstrap> inner, std::vector<UniqueFd>& strangers)
      : inner_(std::move(inner)), strangers_(strangers) {}
  WorldRank rank() const noexcept override { return inner_->rank(); }
  std::uint32_t world_size() const noexcept override { return inner_->world_size(); }
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                 TimePoint deadline) override {
    auto all = inner_->all_gather(mine, deadline);
    if (rank() == WorldRank{0}) connect_strangers();
    inner_->all_gather({}, deadline);  // nobody goes on before the strangers are there
    return all;
  }

 private:
  void connect_strangers() {
    std::ifstream table("/proc/net/unix");
    for (std::string line; std::getline(table, line);) {
      const std::size_t begin = line.find("@cohort-");
      if (begin == std::string::npos) continue;
      for (const std::string_view words : {"", "let me in", "a longer message of no known kind"}) {
        try {
          auto stranger = try_connect(line.substr(begin + 1));
          if (!stranger) continue;
          if (!words.empty()) send_message(stranger->get(), std::as_bytes(std::span(words)));
          strangers_.push_back(std::move(*stranger));
        } catch (const Error&) {  // another test's, gone meanwhile
        }
      }
    }
  }

  std::unique_ptr<Bootstrap> inner_;
  std::vector<UniqueFd>& strangers_;
};

TEST(DomainJoin, StrangersAtTheDoorDoNotDisturb) {
  std::vector<UniqueFd> strangers;
  std::atomic<std::uint32_t> joined{0};
  run_ranks_as_threads(3, [&](std::unique_ptr<Bootstrap> bootstrap) {
    bootstrap = std::make_unique<CrowdedBootstrap>(std::move(bootstrap), strangers);
    World world = World::join(std::move(bootstrap), test::patient_limits());
    world.domain().all_gather({}, "test", world.domain().deadline_after(60s));
    joined.fetch_add(1);
  });
  EXPECT_EQ(joined.load(), 3u);
  EXPECT_GE(strangers.size(), 3u) << "the ranks' sockets must have been found";
}

TEST(DomainJoin, TwoWorldsOfOneProcessKeepApart) {
  std::vector<std::thread> jobs;
  for (int job = 0; job < 2; ++job) {
    jobs.emplace_back([job] {
      const auto results = test::run_ranks(test::RankMode::threads, 3, [&](World& world) {
        if (job == 1) world.fail(Error(ErrorCode::corrupt, "only here"));
        Domain& domain = world.domain();
        for (int turn = 0; turn < 50; ++turn) {
          domain.all_gather({}, "turn", domain.deadline_after(60s));
        }
        return std::string("done");
      });
      for (const RankResult& result : results) EXPECT_EQ(result.error.has_value(), job == 1);
    });
  }
  for (std::thread& job : jobs) job.join();
}

TEST(DomainJoin, AMessageThatIsTooShortIsOneClearError) {
  const auto messages =
      join_with_change([](std::vector<std::byte>& bytes) { bytes.resize(bytes.size() / 2); });
  for (const std::string& message : messages) EXPECT_THAT(message, StartsWith("corrupt: "));
}

}  // namespace
}  // namespace cohort::host
