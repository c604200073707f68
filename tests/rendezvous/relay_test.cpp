#include "rendezvous/relay.hpp"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "rendezvous/protocol.hpp"
#include "rendezvous/wire.hpp"

namespace cohort::rendezvous {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Frame decode(const Outgoing& message) {
  FrameReader reader;
  reader.feed(message.frame);
  return reader.next().value();
}

std::vector<std::string> gathered(const Outgoing& message, std::uint64_t round) {
  const Frame frame = decode(message);
  EXPECT_EQ(frame.type, FrameType::gathered);
  wire::Reader reader(frame.payload);
  EXPECT_EQ(reader.get<std::uint64_t>(), round);
  std::vector<std::string> texts;
  while (!reader.at_end()) texts.push_back(reader.get_text());
  return texts;
}

const Error kDied(ErrorCode::peer_failed, "rank 1 died", WorldRank{1}, "join");

TEST(Relay, AnswersEveryRankWhenTheLastHasContributed) {
  Relay relay(3);
  EXPECT_TRUE(relay.on_gather(WorldRank{2}, 0, bytes_of("c")).empty());
  EXPECT_TRUE(relay.on_gather(WorldRank{0}, 0, bytes_of("")).empty());
  const auto messages = relay.on_gather(WorldRank{1}, 0, bytes_of("bb"));
  ASSERT_EQ(messages.size(), 3u);
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(messages[rank].to, WorldRank{rank});
    EXPECT_EQ(gathered(messages[rank], 0), (std::vector<std::string>{"", "bb", "c"}));
  }
}

TEST(Relay, KeepsRoundsApartWhenOneRankIsAhead) {
  Relay relay(2);
  relay.on_gather(WorldRank{0}, 0, bytes_of("a0"));
  EXPECT_TRUE(relay.on_gather(WorldRank{0}, 1, bytes_of("a1")).empty());
  const auto first = relay.on_gather(WorldRank{1}, 0, bytes_of("b0"));
  EXPECT_EQ(gathered(first.at(0), 0), (std::vector<std::string>{"a0", "b0"}));
  const auto second = relay.on_gather(WorldRank{1}, 1, bytes_of("b1"));
  EXPECT_EQ(gathered(second.at(1), 1), (std::vector<std::string>{"a1", "b1"}));
}

TEST(Relay, TellsThoseWhoWaitForARankThatEnded) {
  Relay relay(3);
  relay.on_gather(WorldRank{0}, 0, bytes_of("a"));
  const auto told = relay.on_ended(WorldRank{1}, kDied);
  ASSERT_EQ(told.size(), 1u) << "rank 2 does not wait yet";
  EXPECT_EQ(told[0].to, WorldRank{0});
  EXPECT_EQ(decode(told[0]).type, FrameType::failed);
  EXPECT_STREQ(decode_error(decode(told[0]).payload).what(), "rank 1 died");
  const auto late = relay.on_gather(WorldRank{2}, 0, bytes_of("c"));
  ASSERT_EQ(late.size(), 1u) << "and nobody is told twice";
  EXPECT_EQ(late[0].to, WorldRank{2});
  EXPECT_EQ(decode(late[0]).type, FrameType::failed);
}

TEST(Relay, ARankThatEndedAfterContributingIsNoObstacle) {
  Relay relay(2);
  relay.on_gather(WorldRank{1}, 0, bytes_of("b"));
  EXPECT_TRUE(relay.on_ended(WorldRank{1}, kDied).empty());
  const auto messages = relay.on_gather(WorldRank{0}, 0, bytes_of("a"));
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(gathered(messages[0], 0), (std::vector<std::string>{"a", "b"}));
}

TEST(Relay, WhatACorruptRankContributedDoesNotCount) {
  Relay relay(3);
  relay.on_gather(WorldRank{0}, 0, bytes_of("a"));
  relay.on_gather(WorldRank{1}, 0, bytes_of("b"));
  const auto told = relay.on_corrupted(WorldRank{1}, kDied);
  ASSERT_EQ(told.size(), 1u) << "not the rank itself, and rank 2 does not wait yet";
  EXPECT_EQ(told[0].to, WorldRank{0});
  EXPECT_EQ(decode(told[0]).type, FrameType::failed);
  const auto late = relay.on_gather(WorldRank{2}, 0, bytes_of("c"));
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].to, WorldRank{2});
  EXPECT_EQ(decode(late[0]).type, FrameType::failed);
}

TEST(Relay, SaysWhoIsMissing) {
  Relay relay(4);
  relay.on_gather(WorldRank{0}, 0, bytes_of("a"));
  relay.on_gather(WorldRank{2}, 0, bytes_of("c"));
  const Frame frame = decode(relay.on_ask_missing(WorldRank{0}, 0).at(0));
  EXPECT_EQ(frame.type, FrameType::missing);
  wire::Reader reader(frame.payload);
  EXPECT_EQ(reader.get<std::uint32_t>(), 1u);
  EXPECT_EQ(reader.get<std::uint32_t>(), 3u);
  EXPECT_TRUE(reader.at_end());
}

}  // namespace
}  // namespace cohort::rendezvous
