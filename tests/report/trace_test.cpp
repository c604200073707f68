#include "report/trace.hpp"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "report/job_ledger.hpp"

namespace cohort {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TimedCall call_at(double begin_s, double total_s, Lane lane = {}, Reason reason = Reason::ok) {
  TimedCall timed{begin_s, total_s, total_s / 4, {}};
  timed.call.bytes = 4096;
  timed.call.copied_bytes = reason == Reason::ok ? 0 : 4096;
  timed.call.lane = lane;
  timed.call.group = GroupKind::attn_cp;
  timed.call.op = Op::all_gather;
  timed.call.path = reason == Reason::ok ? Path::host_direct : Path::host_staged;
  timed.call.reason = reason;
  return timed;
}

Layout layout() {
  return Layout({.tp = 4, .attn_cp = 2});
}

/// Four ranks; the third has a second lane and lost calls, the fourth made none.
std::vector<RankTimeline> timelines() {
  std::vector<RankTimeline> ranks(4);
  ranks[0].calls = {call_at(0, 2e-6), call_at(5e-6, 1.5e-6, Lane{}, Reason::disabled)};
  ranks[1].calls = {call_at(1e-6, 1e-6)};
  // In the order in which they ended: the call on the other lane lies within the first.
  ranks[2].calls = {call_at(3e-6, 1e-6, Lane{1}), call_at(2e-6, 8e-6)};
  ranks[2].dropped = 7;
  return ranks;
}

std::vector<json> events_of(const json& trace, const std::string& phase) {
  std::vector<json> found;
  for (const json& event : trace.at("traceEvents")) {
    if (event.at("ph") == phase) found.push_back(event);
  }
  return found;
}

TEST(Trace, EveryCallIsASliceWithItsArguments) {
  const json trace = json::parse(trace_json(timelines(), layout()));
  const auto calls = events_of(trace, "X");
  ASSERT_EQ(calls.size(), 5U);
  const json& first = calls.front();
  EXPECT_EQ(first.at("name"), "all_gather attn_cp");
  EXPECT_EQ(first.at("cat"), "host_direct");
  EXPECT_EQ(first.at("ts"), 0.0);
  EXPECT_EQ(first.at("dur"), 2.0);
  const json& words = first.at("args");
  EXPECT_EQ(words.at("op"), "all_gather");
  EXPECT_EQ(words.at("group"), "attn_cp");
  EXPECT_EQ(words.at("ranks"), format_ranks(layout().group_of(GroupKind::attn_cp, WorldRank{0})));
  EXPECT_EQ(words.at("path"), "host_direct");
  EXPECT_EQ(words.at("reason"), "ok");
  EXPECT_FALSE(words.contains("why"));
  EXPECT_EQ(words.at("bytes"), 4096);
  EXPECT_EQ(words.at("copied_bytes"), 0);
  EXPECT_DOUBLE_EQ(words.at("wait_us").get<double>() + words.at("move_us").get<double>(), 2.0);
  EXPECT_EQ(calls[1].at("args").at("reason"), "disabled");
  EXPECT_THAT(calls[1].at("args").at("why").get<std::string>(), HasSubstr("switched off"));
}

TEST(Trace, EveryRankHasItsProcessAndEveryLaneItsTrack) {
  const json trace = json::parse(trace_json(timelines(), layout()));
  std::map<int, std::string> ranks;
  std::map<int, int> rank_of_track;
  std::set<std::string> lanes;
  for (const json& event : events_of(trace, "M")) {
    const json& name = event.at("args");
    if (event.at("name") == "process_name") ranks[event.at("pid")] = name.at("name");
    if (event.at("name") != "thread_name") continue;
    // Readers number the tracks of all processes together.
    EXPECT_TRUE(rank_of_track.emplace(event.at("tid"), event.at("pid")).second);
    lanes.insert(name.at("name"));
  }
  ASSERT_EQ(ranks.size(), 4U);
  EXPECT_FALSE(ranks.contains(0));
  EXPECT_EQ(ranks.begin()->second, "rank 0");
  EXPECT_EQ(rank_of_track.size(), 4U);
  EXPECT_EQ(lanes, (std::set<std::string>{"lane 0", "lane 1"}));
  for (const json& call : events_of(trace, "X")) {
    ASSERT_TRUE(rank_of_track.contains(call.at("tid")));
    EXPECT_EQ(rank_of_track[call.at("tid")], call.at("pid"));
  }
}

TEST(Trace, CallsOfARankRiseInTimeAndNest) {
  const json trace = json::parse(trace_json(timelines(), layout()));
  std::map<int, double> last;
  std::map<int, double> end;
  for (const json& call : events_of(trace, "X")) {
    EXPECT_GE(call.at("ts").get<double>(), last[call.at("pid")]);
    last[call.at("pid")] = call.at("ts");
    // On one track they follow each other.
    EXPECT_GE(call.at("ts").get<double>(), end[call.at("tid")]);
    end[call.at("tid")] = call.at("ts").get<double>() + call.at("dur").get<double>();
    EXPECT_GE(call.at("args").at("move_us").get<double>(), 0.0);
  }
  EXPECT_EQ(end.size(), 4U);
}

TEST(Trace, SaysWhatItLeavesOut) {
  const json trace = json::parse(trace_json(timelines(), layout()));
  EXPECT_EQ(trace.at("displayTimeUnit"), "ns");
  EXPECT_EQ(trace.at("otherData").at("schema"), 1);
  EXPECT_EQ(trace.at("otherData").at("version"), COHORT_VERSION);
  EXPECT_EQ(trace.at("otherData").at("calls_not_recorded"), 7);
  const auto marks = events_of(trace, "i");
  ASSERT_EQ(marks.size(), 1U);
  EXPECT_EQ(marks[0].at("name"), "7 later calls were not recorded");
  EXPECT_EQ(marks[0].at("ts"), 10.0);
}

TEST(Trace, OfAJobWithoutCallsIsOne) {
  const json trace = json::parse(trace_json(std::vector<RankTimeline>(4), layout()));
  EXPECT_TRUE(events_of(trace, "X").empty());
  EXPECT_EQ(events_of(trace, "M").size(), 8U);
}

TEST(Trace, StaysOfASizeThatReadersTake) {
  EXPECT_EQ(trace_calls_max(1), collectives::Timeline::kCallsDefault);
  EXPECT_EQ(trace_calls_max(64), 400'000U / 64);
  EXPECT_EQ(trace_calls_max(4096), 1024U);
}

}  // namespace
}  // namespace cohort
