#include "rendezvous/torchrun_hub.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/unique_fd.hpp"
#include "rendezvous/frame_connection.hpp"
#include "rendezvous/protocol.hpp"

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

const std::vector<std::byte> kMine{std::byte{7}};
constexpr std::chrono::seconds kAnyTime{60};  // nothing here waits for it

Frame gather(TorchrunHub& hub, std::uint64_t round) {
  return hub.gather(round, kMine, std::chrono::steady_clock::now() + kAnyTime);
}

std::vector<std::byte> joined(std::vector<std::byte> first, const std::vector<std::byte>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::vector<std::byte> bytes_of_text(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// The error in an answer; what is no such answer is a failure.
Error error_in(const std::optional<Frame>& answer) {
  if (answer && answer->type == FrameType::failed) return decode_error(answer->payload);
  ADD_FAILURE() << "no error came";
  return Error(ErrorCode::system, "");
}

/// The next that a process hears.
std::optional<Frame> answer_to(const UniqueFd& socket) {
  return FrameConnection(socket.get()).receive(std::chrono::steady_clock::now() + kAnyTime);
}

std::vector<std::byte> gather_of(std::uint32_t rank, std::uint32_t rank_count,
                                 std::uint64_t round) {
  return encode_gather(WorldRank{rank}, rank_count, round, kMine);
}

struct BadSpeech {
  std::string name;
  std::vector<std::byte> bytes;  ///< behind rank 1's part in round 0
  std::string text;              ///< part of what all are told
};

/// A frame of a gather whose payload says less or more than it should.
std::vector<std::byte> resized_gather(std::ptrdiff_t more) {
  std::vector<std::byte> frame = gather_of(1, 3, 1);
  FrameReader reader;
  reader.feed(frame);
  std::vector<std::byte> payload = reader.next()->payload;
  payload.resize(payload.size() + static_cast<std::size_t>(more));
  return encode_frame(FrameType::gather, payload);
}

std::vector<BadSpeech> bad_speeches() {
  return {
      {"garbage", std::vector<std::byte>(64, std::byte{0xA5}), "bytes that are no message"},
      {"http", bytes_of_text("GET / HTTP/1.1\r\n\r\n"), "bytes that are no message"},
      {"cut", resized_gather(-1), "bytes that are no message"},
      {"more", resized_gather(5), "a message with more behind it"},
      {"empty", encode_frame(FrameType::gather, {}), "bytes that are no message"},
      {"type", encode_frame(FrameType::gathered, {}), "of a kind that ranks do not send"},
      {"other rank", gather_of(2, 3, 1), "a message as rank 2"},
      {"rank outside", gather_of(9, 3, 1), "a message as rank 9"},
      {"world size", gather_of(1, 4, 1), "WORLD_SIZE=4"},
      {"again", gather_of(1, 3, 0), "what is for round 0 of its meetings in round 1"},
      {"ahead", gather_of(1, 3, ~std::uint64_t{0}), "in round 1"},
  };
}

TEST(TorchrunHub, ANamedRankThatSpeaksOtherwiseEndsAllAtOnce) {
  for (const BadSpeech& bad : bad_speeches()) {
    SCOPED_TRACE(bad.name);
    const TorchrunEnvironment environment = environment_of(3, "bad-" + bad.name);
    TorchrunHub hub(environment);
    const UniqueFd planted = connect_to(environment, joined(gather_of(1, 3, 0), bad.bytes));
    // Comes when the round has failed already, and is told all the same.
    std::optional<Frame> late_answer;
    std::thread late([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const UniqueFd socket = connect_to(environment, gather_of(2, 3, 0));
      late_answer = answer_to(socket);
    });
    const Error own = error_in(gather(hub, 0));
    EXPECT_STREQ(error_in(gather(hub, 1)).what(), own.what());
    late.join();
    EXPECT_EQ(own.code(), ErrorCode::corrupt);
    EXPECT_EQ(own.rank(), WorldRank{1});
    EXPECT_THAT(own.what(), testing::StartsWith("rank 1 sent "));
    EXPECT_THAT(own.what(), testing::HasSubstr(bad.text));
    EXPECT_STREQ(error_in(late_answer).what(), own.what());
    EXPECT_STREQ(error_in(answer_to(planted)).what(), own.what());
  }
}

TEST(TorchrunHub, HalfAMessageBeforeTheEndNamesItsRank) {
  const TorchrunEnvironment environment = environment_of(3, "half");
  TorchrunHub hub(environment);
  const UniqueFd second = connect_to(environment, joined(gather_of(2, 3, 0), gather_of(2, 3, 1)));
  std::vector<std::byte> half = gather_of(1, 3, 1);
  half.resize(half.size() / 2);
  connect_to(environment, joined(gather_of(1, 3, 0), half));
  EXPECT_EQ(gather(hub, 0).type, FrameType::gathered);
  const Error error = error_in(gather(hub, 1));
  EXPECT_EQ(error.code(), ErrorCode::peer_failed);
  EXPECT_STREQ(error.what(), "rank 1 ended before it had joined");
  FrameConnection heard(second.get());
  const auto deadline = std::chrono::steady_clock::now() + kAnyTime;
  EXPECT_EQ(heard.receive(deadline)->type, FrameType::gathered);
  EXPECT_STREQ(error_in(heard.receive(deadline)).what(), error.what());
}

TEST(TorchrunHub, WhoeverIsNoRankIsRefusedAndTheRestMeets) {
  const TorchrunEnvironment environment = environment_of(2, "strays");
  TorchrunHub hub(environment);
  const UniqueFd rank = connect_to(environment, gather_of(1, 2, 0));
  struct Stray {
    std::vector<std::byte> says;
    std::string told;
  };
  const std::vector<Stray> strays{
      {gather_of(1, 2, 0), "two processes have RANK=1 with "},
      {gather_of(1, 3, 0), "two processes have RANK=1 with "},
      {gather_of(0, 3, 0), "two processes have RANK=0 with "},
      {gather_of(2, 2, 0), "a process has RANK=2 with WORLD_SIZE=2"},
      {gather_of(~0U, 2, 0), "a process has RANK=4294967295 with WORLD_SIZE=2"},
      {gather_of(5, 9, 0), "WORLD_SIZE is 9 on rank 5 and 2 on rank 0"},
      {bytes_of_text("GET / HTTP/1.1\r\n\r\n"), "a process sent bytes that are no message"},
      {encode_frame(FrameType::error, {}), "a process sent a message of a kind"},
  };
  // The rank itself is looked at first, by its place among the connections.
  std::vector<UniqueFd> sockets;
  for (const Stray& stray : strays) sockets.push_back(connect_to(environment, stray.says));
  const auto half = gather_of(1, 2, 0);
  connect_to(environment, {half.begin(), half.begin() + 5});
  EXPECT_EQ(gather(hub, 0).type, FrameType::gathered);
  EXPECT_EQ(answer_to(rank)->type, FrameType::gathered);
  for (std::size_t i = 0; i < strays.size(); ++i) {
    EXPECT_THAT(error_in(answer_to(sockets[i])).what(), testing::StartsWith(strays[i].told));
  }
  // None of them has spoiled the next round.
  ASSERT_GT(::send(rank.get(), gather_of(1, 2, 1).data(), gather_of(1, 2, 1).size(), 0), 0);
  EXPECT_EQ(gather(hub, 1).type, FrameType::gathered);
}

}  // namespace
}  // namespace cohort::rendezvous
