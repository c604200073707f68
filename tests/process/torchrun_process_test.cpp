// Ranks as torchrun starts them: processes that have nothing in common but their environment, while
// torchrun's agent holds MASTER_PORT.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/unique_fd.hpp"
#include "rendezvous/protocol.hpp"
#include "rendezvous/torchrun_hub.hpp"
#include "rendezvous/wire.hpp"
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

  /// Where `start` has ranks of one job meet.
  std::string socket_name(int rank_count, const std::string& run_id) const {
    const std::string count = std::to_string(rank_count);
    const std::map<std::string, std::string> variables{{"RANK", "0"},
                                                       {"LOCAL_RANK", "0"},
                                                       {"WORLD_SIZE", count},
                                                       {"MASTER_ADDR", "127.0.0.1"},
                                                       {"MASTER_PORT", port_},
                                                       {"TORCHELASTIC_RUN_ID", run_id},
                                                       {"TORCHELASTIC_RESTART_COUNT", "0"}};
    const auto lookup = [&](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    };
    return rendezvous::parse_torchrun_environment(lookup, ::getuid())->socket_name;
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

using Bytes = std::vector<std::byte>;

/// A socket of this test's, once `use` has connected or bound it there.
UniqueFd open_at(const std::string& name,
                 const std::function<int(int, const sockaddr*, socklen_t)>& use) {
  for (const auto end = std::chrono::steady_clock::now() + patience(60s);;) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int done =
        rendezvous::with_abstract_address(name, [&](const void* address, std::uint32_t bytes) {
          return use(socket.get(), static_cast<const sockaddr*>(address), bytes);
        });
    if (done == 0) return socket;
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << "nobody listens";
      return socket;
    }
    std::this_thread::sleep_for(1ms);
  }
}

void say(const UniqueFd& socket, const Bytes& bytes) {
  EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

TEST_F(TorchrunRanks, GarbageInARanksNameEndsAllAtOnce) {
  const auto first = start(0, 4, {"gather"});
  const auto third = start(2, 4, {"gather"});
  const UniqueFd planted = open_at(socket_name(4, "none"), ::connect);
  say(planted, rendezvous::encode_gather(WorldRank{1}, 4, 0, Bytes(8)));
  std::this_thread::sleep_for(1s);  // all wait, for rank 3 alone, which does not come
  say(planted, Bytes(100, std::byte{0xA5}));
  const auto begin = std::chrono::steady_clock::now();
  for (const auto* rank : {&first, &third}) {
    const Finished finished = (*rank)->wait(patience(60s));
    EXPECT_EQ(finished.exit_code, 2);
    EXPECT_EQ(finished.errors,
              "rank 1 sent bytes that are no message while ranks met; start all from the same "
              "build\n");
  }
  // Long before the deadline of joining, of 60 s. The planted process never ends.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, patience(30s));
}

Bytes gathered(std::uint64_t round, int parts) {
  wire::Writer writer;
  writer.put(round);
  for (int part = 0; part < parts; ++part) writer.put_bytes({});
  return rendezvous::encode_frame(rendezvous::FrameType::gathered, writer.bytes());
}

TEST_F(TorchrunRanks, AnswersThatAreNoneNameRankZero) {
  using rendezvous::encode_frame;
  using rendezvous::FrameType;
  const std::string not_understood =
      "rank 0 sent what is no answer to ranks that meet; start all from the same build\n";
  Bytes late = gathered(7, 2);  // of another round: not this one's answer
  const Bytes failed = encode_frame(
      FrameType::failed, rendezvous::encode_error(Error(ErrorCode::usage, "what rank 0 says")));
  late.insert(late.end(), failed.begin(), failed.end());
  const std::vector<std::pair<Bytes, std::string>> cases{
      {Bytes(100, std::byte{0xA5}), not_understood},
      {encode_frame(FrameType::missing, {}), not_understood},
      {encode_frame(FrameType::gathered, {}), not_understood},
      {encode_frame(FrameType::failed, Bytes(3)), not_understood},
      {gathered(0, 1), not_understood},
      {late, "what rank 0 says\n"},
  };
  const UniqueFd listener = open_at(socket_name(2, "planted"), ::bind);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  for (const auto& [answer, text] : cases) {
    const auto rank = start(1, 2, {"gather"}, "planted");
    const UniqueFd connected(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    say(connected, answer);
    const Finished finished = rank->wait(patience(60s));
    EXPECT_EQ(finished.exit_code, 2);
    EXPECT_EQ(finished.errors, text);
  }
}

}  // namespace
}  // namespace cohort
