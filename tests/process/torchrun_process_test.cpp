// Ranks as torchrun starts them: processes that have nothing in common but their environment, while
// torchrun's agent holds MASTER_PORT.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/unique_fd.hpp"
#include "support/subprocess.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::Finished;
using test::patience;
using test::Subprocess;
using testing::HasSubstr;

const std::string kProgram = COHORT_BUILD_DIR "/rank_program";

class TorchrunRanks : public testing::Test {
 protected:
  /// What torchrun's agent does: it listens there as long as the job runs.
  void SetUp() override {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(::bind(agent_.get(), any, bytes), 0);
    ASSERT_EQ(::listen(agent_.get(), 1), 0);
    ASSERT_EQ(::getsockname(agent_.get(), any, &bytes), 0);
    port_ = std::to_string(ntohs(address.sin_port));
  }

  std::unique_ptr<Subprocess> start(int rank, int rank_count, std::vector<std::string> scenario,
                                    const std::string& run_id = "none") const {
    scenario.insert(scenario.begin(), kProgram);
    return std::make_unique<Subprocess>(
        scenario, Subprocess::Variables{{"RANK", std::to_string(rank)},
                                        {"LOCAL_RANK", std::to_string(rank)},
                                        {"WORLD_SIZE", std::to_string(rank_count)},
                                        {"LOCAL_WORLD_SIZE", std::to_string(rank_count)},
                                        {"MASTER_ADDR", "127.0.0.1"},
                                        {"MASTER_PORT", port_},
                                        {"TORCHELASTIC_RUN_ID", run_id},
                                        {"TORCHELASTIC_RESTART_COUNT", "0"},
                                        {"ASAN_OPTIONS", "detect_leaks=0"}});
  }

  std::vector<std::unique_ptr<Subprocess>> start_all(int rank_count,
                                                     const std::vector<std::string>& scenario,
                                                     const std::string& run_id = "none") const {
    std::vector<std::unique_ptr<Subprocess>> ranks;
    for (int rank = 0; rank < rank_count; ++rank) {
      ranks.push_back(start(rank, rank_count, scenario, run_id));
    }
    return ranks;
  }

  UniqueFd agent_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::string port_;
};

TEST_F(TorchrunRanks, MeetWhileTheMasterPortIsTaken) {
  for (const char* scenario : {"gather", "gather_twice"}) {
    const auto ranks = start_all(3, {scenario});
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      const Finished finished = ranks[rank]->wait(patience(60s));
      EXPECT_EQ(finished.exit_code, 0) << finished.errors;
      const std::string line = "rank " + std::to_string(rank) + " sees 0 1 2\n";
      EXPECT_EQ(finished.output, scenario == std::string("gather") ? line : line + line);
    }
  }
}

TEST_F(TorchrunRanks, RankZeroMayComeLast) {
  const auto second = start(1, 2, {"gather"});
  std::this_thread::sleep_for(100ms);
  const auto first = start(0, 2, {"gather"});
  EXPECT_EQ(first->wait(patience(60s)).exit_code, 0);
  EXPECT_EQ(second->wait(patience(60s)).exit_code, 0);
}

TEST_F(TorchrunRanks, TwoJobsWithOnePortDoNotMeet) {
  const auto one = start_all(2, {"gather"}, "one");
  const auto other = start_all(2, {"gather"}, "other");
  for (const auto* job : {&one, &other}) {
    for (const auto& rank : *job) EXPECT_EQ(rank->wait(patience(60s)).exit_code, 0);
  }
}

TEST_F(TorchrunRanks, WhoIsLateIsNamedByAll) {
  const auto ranks = start_all(3, {"late", "2"});
  for (const int rank : {0, 1}) {
    const Finished finished = ranks[static_cast<std::size_t>(rank)]->wait(patience(60s));
    EXPECT_EQ(finished.exit_code, 1);
    EXPECT_EQ(finished.errors, "rank 2 did not join in time\n") << rank;
  }
  const auto without_first = start_all(2, {"late", "0"}, "first");
  const Finished finished = without_first[1]->wait(patience(60s));
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(finished.errors,
            "rank 0 did not join in time: on this host nobody has RANK=0 with "
            "MASTER_ADDR=127.0.0.1 MASTER_PORT=" +
                port_ + "\n");
}

TEST_F(TorchrunRanks, ADeathWhileJoiningEndsAll) {
  for (const int victim : {0, 1}) {
    const auto ranks =
        start_all(3, {"kill_in_join", std::to_string(victim)}, std::to_string(victim));
    for (int rank = 0; rank < 3; ++rank) {
      const Finished finished = ranks[static_cast<std::size_t>(rank)]->wait(patience(60s));
      if (rank == victim) {
        EXPECT_EQ(finished.signal, SIGKILL);
        continue;
      }
      EXPECT_EQ(finished.exit_code, 1);
      EXPECT_THAT(finished.errors, HasSubstr("rank " + std::to_string(victim))) << rank;
    }
  }
}

TEST_F(TorchrunRanks, AFaultEndsAllWithItsText) {
  for (const auto& rank : start_all(3, {"fail", "1"})) {
    const Finished finished = rank->wait(patience(60s));
    EXPECT_EQ(finished.exit_code, 2);
    EXPECT_THAT(finished.errors, HasSubstr("model.gguf is torn"));
  }
}

TEST_F(TorchrunRanks, ContradictionsBetweenRanksAreNamed) {
  const auto first = start(0, 2, {"gather"});
  const auto second = start(1, 3, {"gather"});
  for (const auto* rank : {&first, &second}) {
    const Finished finished = (*rank)->wait(patience(60s));
    EXPECT_EQ(finished.exit_code, 2);
    EXPECT_EQ(finished.errors, "WORLD_SIZE is 3 on rank 1 and 2 on rank 0\n");
  }
}

TEST_F(TorchrunRanks, TheSameRankTwiceIsRefused) {
  const auto first = start(0, 3, {"late", "9"});
  const std::vector<std::unique_ptr<Subprocess>> twice = [&] {
    std::vector<std::unique_ptr<Subprocess>> both;
    for (int i = 0; i < 2; ++i) both.push_back(start(1, 3, {"late", "9"}));
    return both;
  }();
  int refused = 0;
  for (const auto& rank : twice) {
    const Finished finished = rank->wait(patience(60s));
    const bool is_second = finished.errors.find("two processes have RANK=1 with MASTER_ADDR=") == 0;
    refused += is_second ? 1 : 0;
    EXPECT_EQ(finished.exit_code, is_second ? 2 : 1) << finished.errors;
  }
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(first->wait(patience(60s)).errors, "rank 2 did not join in time\n");
}

TEST_F(TorchrunRanks, ASecondRankZeroIsRefused) {
  const auto first = start(0, 2, {"late", "9"});
  const auto second = start(0, 2, {"late", "9"});
  const Finished one = first->wait(patience(60s));
  const Finished other = second->wait(patience(60s));
  EXPECT_EQ(one.exit_code, 1);
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(one.errors + other.errors,
              HasSubstr("another process of this host is rank 0 of MASTER_ADDR=127.0.0.1 "
                        "MASTER_PORT=" +
                        port_ + " already"));
}

}  // namespace
}  // namespace cohort
