#include "collectives/last_calls.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::collectives {
namespace {

heap::ChannelRegion channel(GroupKind kind, std::uint32_t lane, heap::Section section = {}) {
  heap::ChannelRegion region;
  region.kind = kind;
  region.lane = Lane{lane};
  region.section = section;
  return region;
}

/// How many members a lane's group has, in place of what they called.
std::string members(const heap::ChannelRegion& /*lane*/, std::span<const WorldRank> ranks) {
  return "of " + std::to_string(ranks.size());
}

TEST(LastCalls, NameEveryLaneOfEveryGroupOnce) {
  const Layout layout({.tp = 4, .attn_dp = 2});
  const std::vector<heap::ChannelRegion> channels = {
      channel(GroupKind::tp, 0), channel(GroupKind::tp, 1), channel(GroupKind::attn_tp, 0),
      channel(GroupKind::attn_tp, 1)};
  EXPECT_EQ(describe_last_calls(WorldRank{3}, layout, channels, members),
            "last calls of rank 3: tp [0, 1, 2, 3] lane 0 of 4, lane 1 of 4; attn_tp [2, 3] "
            "lane 0 of 2, lane 1 of 2");
}

TEST(LastCalls, LeaveOutGroupsOfOneAndOtherStages) {
  const Layout layout({.tp = 2, .attn_dp = 2, .pp = 2});
  const std::vector<heap::ChannelRegion> channels = {
      channel(GroupKind::attn_tp, 0), channel(GroupKind::tp, 0, 0U), channel(GroupKind::tp, 0, 1U)};
  int looks = 0;
  const ReadLane read = [&](const heap::ChannelRegion& lane, std::span<const WorldRank>) {
    ++looks;
    EXPECT_EQ(lane.section, 1U);
    return std::string("none");
  };
  EXPECT_EQ(describe_last_calls(WorldRank{2}, layout, channels, read),
            "last calls of rank 2: tp [2, 3] lane 0 none");
  EXPECT_EQ(looks, 1);
}

TEST(LastCalls, AreNoneOfARankWithoutGroups) {
  const Layout layout({.tp = 1});
  EXPECT_EQ(
      describe_last_calls(WorldRank{0}, layout, std::vector{channel(GroupKind::tp, 0)}, members),
      "");
}

}  // namespace
}  // namespace cohort::collectives
