#include "report/job_timeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

using collectives::RecordedCall;
using collectives::Timeline;

RecordedCall call_at(std::uint64_t begin_ticks) {
  return {begin_ticks,
          3000,
          1000,
          64,
          7,
          Lane{1},
          GroupKind::attn,
          Op::all_reduce,
          Path::host_staged,
          Reason::disabled,
          2};
}

TEST(JobTimeline, TellsEveryCallOnOneClock) {
  Timeline early(4);
  Timeline late(4);
  early.add(call_at(10'000));
  late.add(call_at(15'000));
  late.add(call_at(40'000));
  const std::vector<std::vector<std::byte>> encoded{encode_timeline(early), encode_timeline(late)};
  const std::vector<RankTimeline> ranks = align_timelines(encoded);
  ASSERT_EQ(ranks.size(), 2U);
  ASSERT_EQ(ranks[0].calls.size(), 1U);
  ASSERT_EQ(ranks[1].calls.size(), 2U);
  EXPECT_EQ(ranks[1].calls[1].call, call_at(40'000));
  EXPECT_EQ(ranks[0].calls[0].begin_s, 0);
  // Of all ranks' ticks the same length: ratios are exact whatever the machine's clock.
  const double tick_s = ranks[0].calls[0].total_s / 3000;
  EXPECT_GT(tick_s, 1e-11);
  EXPECT_LT(tick_s, 1e-7);
  EXPECT_DOUBLE_EQ(ranks[0].calls[0].wait_s, 1000 * tick_s);
  EXPECT_DOUBLE_EQ(ranks[1].calls[0].begin_s, 5'000 * tick_s);
  EXPECT_DOUBLE_EQ(ranks[1].calls[1].begin_s, 30'000 * tick_s);
}

TEST(JobTimeline, KeepsTheFirstCallsAndCountsTheRest) {
  Timeline timeline(2);
  for (std::uint64_t i = 0; i < 5; ++i) timeline.add(call_at(i));
  const std::vector<std::vector<std::byte>> encoded{encode_timeline(timeline)};
  const RankTimeline rank = align_timelines(encoded).at(0);
  ASSERT_EQ(rank.calls.size(), 2U);
  EXPECT_EQ(rank.calls[1].call.begin_ticks, 1U);
  EXPECT_EQ(rank.dropped, 3U);
  timeline.clear();
  EXPECT_TRUE(timeline.calls().empty());
  EXPECT_EQ(timeline.dropped(), 0U);
}

TEST(JobTimeline, OfRanksWithoutCallsIsEmpty) {
  const Timeline timeline(0);
  const std::vector<std::vector<std::byte>> encoded{encode_timeline(timeline)};
  EXPECT_TRUE(align_timelines(encoded).at(0).calls.empty());
}

TEST(JobTimeline, RefusesWhatNoRankWrote) {
  Timeline timeline(2);
  timeline.add(call_at(5));
  const std::vector<std::byte> whole = encode_timeline(timeline);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto end = whole.begin() + static_cast<std::ptrdiff_t>(size);
    const std::vector<std::vector<std::byte>> cut{std::vector<std::byte>(whole.begin(), end)};
    EXPECT_THROW(align_timelines(cut), Error) << size;
  }
  for (std::size_t back = 1; back <= 4; ++back) {  // group, operation, path and reason
    std::vector<std::vector<std::byte>> odd{whole};
    odd[0][whole.size() - back] = std::byte{200};
    EXPECT_THROW(align_timelines(odd), Error) << back;
  }
  std::vector<std::vector<std::byte>> longer{whole};
  longer[0].push_back(std::byte{0});
  EXPECT_THROW(align_timelines(longer), Error);
}

}  // namespace
}  // namespace cohort
