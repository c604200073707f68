#include "rendezvous/torchrun_hub.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/unique_fd.hpp"

namespace cohort::rendezvous {
namespace {

TorchrunEnvironment environment_of(std::uint32_t rank_count, const std::string& name) {
  TorchrunEnvironment environment{};
  environment.rank_count = rank_count;
  environment.socket_name = "cohort-hub-test-" + name + "-" + std::to_string(::getpid());
  return environment;
}

/// A process that has connected, and what it says before rank 0 looks.
UniqueFd connect_to(const TorchrunEnvironment& environment, std::vector<std::byte> says = {}) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int connected =
      with_abstract_address(environment.socket_name, [&](const void* address, std::uint32_t bytes) {
        return ::connect(socket.get(), static_cast<const sockaddr*>(address), bytes);
      });
  EXPECT_EQ(connected, 0);
  if (!says.empty()) {
    EXPECT_EQ(::send(socket.get(), says.data(), says.size(), 0), static_cast<ssize_t>(says.size()));
  }
  return socket;
}

TEST(TorchrunHub, LooksThroughAllWhileSomeLeave) {
  const TorchrunEnvironment environment = environment_of(3, "leave");
  TorchrunHub hub(environment);
  // In one sweep: two that only looked in, one that says nothing, and both ranks behind them.
  connect_to(environment);
  const UniqueFd silent = connect_to(environment);
  connect_to(environment);
  const std::vector<std::byte> mine{std::byte{7}};
  const UniqueFd first = connect_to(environment, encode_gather(WorldRank{1}, 3, 0, mine));
  const UniqueFd second = connect_to(environment, encode_gather(WorldRank{2}, 3, 0, mine));
  const Frame answer =
      hub.gather(0, mine, std::chrono::steady_clock::now() + std::chrono::seconds(60));
  EXPECT_EQ(answer.type, FrameType::gathered);
}

/// What rank 0 is told in the second round, far before its deadline, when rank 1 of 3 says `then`
/// after its first gather.
Error fault_after(const std::string& name, const std::vector<std::byte>& then) {
  const TorchrunEnvironment environment = environment_of(3, name);
  TorchrunHub hub(environment);
  const std::vector<std::byte> mine{std::byte{7}};
  std::vector<std::byte> says = encode_gather(WorldRank{1}, 3, 0, mine);
  says.insert(says.end(), then.begin(), then.end());
  const UniqueFd first = connect_to(environment, says);
  const UniqueFd second = connect_to(environment, encode_gather(WorldRank{2}, 3, 0, mine));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(hub.gather(0, mine, begin + std::chrono::seconds(60)).type, FrameType::gathered);
  const Frame answer = hub.gather(1, mine, begin + std::chrono::seconds(60));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_EQ(answer.type, FrameType::failed);
  return decode_error(answer.payload);
}

TEST(TorchrunHub, ARankThatStopsMakingSenseEndsAllAtOnce) {
  const std::string expected = "rank 1 sent what no rank sends while joining";
  const std::vector<std::byte> mine{std::byte{7}};
  const std::pair<std::string, std::vector<std::byte>> cases[] = {
      {"garbage", std::vector<std::byte>(64, std::byte{0xff})},
      {"type", encode_frame(FrameType::gathered, mine)},
      {"another-rank", encode_gather(WorldRank{2}, 3, 1, mine)},
  };
  for (const auto& [name, then] : cases) {
    const Error fault = fault_after(name, then);
    EXPECT_EQ(fault.code(), ErrorCode::peer_failed) << name;
    EXPECT_EQ(std::string(fault.what()).find(expected), 0U) << name << ": " << fault.what();
    EXPECT_EQ(fault.rank(), WorldRank{1}) << name;
  }
}

}  // namespace
}  // namespace cohort::rendezvous
