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

}  // namespace
}  // namespace cohort::rendezvous
