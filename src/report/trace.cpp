#include "report/trace.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>
#include <string_view>
#include <vector>

#include <cohort/verdict.hpp>
#include <cohort/version.hpp>

#include "base/json_string.hpp"
#include "report/job_ledger.hpp"

namespace cohort {

namespace {

// Readers of traces take process 0 for the idle task, and a track's number for one of the machine.
constexpr std::size_t kFirstProcess = 1;
constexpr std::size_t kTracksOfProcess = 1000;

std::size_t process_of(std::size_t rank) {
  return kFirstProcess + rank;
}

std::size_t track_of(std::size_t rank, Lane lane) {
  return process_of(rank) * kTracksOfProcess + lane.index();
}

/// Microseconds, to the nanosecond.
std::string micros(double seconds) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.3f", seconds * 1e6);
  return text.data();
}

class Writer {
 public:
  explicit Writer(const Layout& layout) : layout_(&layout) {}

  void add_rank(std::size_t rank, const RankTimeline& timeline) {
    const std::string process = std::to_string(process_of(rank));
    add("{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":" + process +
        ",\"args\":{\"name\":\"rank " + std::to_string(rank) + "\"}}");
    add("{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":" + process +
        ",\"args\":{\"sort_index\":" + std::to_string(rank) + "}}");
    std::set<Lane> lanes;
    for (const TimedCall& timed : timeline.calls) lanes.insert(timed.call.lane);
    for (const Lane lane : lanes) add_lane(rank, lane);
    for (const TimedCall* timed : by_begin(timeline.calls)) add_call(rank, *timed);
    if (timeline.dropped != 0) add_end(rank, timeline);
  }

  std::string finished(std::uint64_t dropped) {
    return "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"schema\":1,\"version\":" +
           json_string(COHORT_VERSION) + ",\"ranks\":" + std::to_string(layout_->world_size()) +
           ",\"calls_not_recorded\":" + std::to_string(dropped) + "},\"traceEvents\":[" +
           std::move(events_) + "\n]}\n";
  }

 private:
  void add(std::string_view event) { events_.append(events_.empty() ? "\n" : ",\n").append(event); }

  void add_lane(std::size_t rank, Lane lane) {
    const std::string where = ",\"pid\":" + std::to_string(process_of(rank)) +
                              ",\"tid\":" + std::to_string(track_of(rank, lane)) + ",\"args\":";
    const std::string number = std::to_string(lane.index());
    add("{\"ph\":\"M\",\"name\":\"thread_name\"" + where + "{\"name\":\"lane " + number + "\"}}");
    add("{\"ph\":\"M\",\"name\":\"thread_sort_index\"" + where + "{\"sort_index\":" + number +
        "}}");
  }

  /// Calls in the order in which they began; of two that began together the longer first, as it
  /// holds the other.
  static std::vector<const TimedCall*> by_begin(std::span<const TimedCall> calls) {
    std::vector<const TimedCall*> order;
    for (const TimedCall& call : calls) order.push_back(&call);
    std::stable_sort(order.begin(), order.end(), [](const TimedCall* left, const TimedCall* right) {
      return left->begin_s != right->begin_s ? left->begin_s < right->begin_s
                                             : left->total_s > right->total_s;
    });
    return order;
  }

  void add_call(std::size_t rank, const TimedCall& timed) {
    const collectives::RecordedCall& call = timed.call;
    const auto members = layout_->group_of(call.group, WorldRank{static_cast<std::uint32_t>(rank)});
    const std::string group(to_string(call.group));
    std::string event = "{\"ph\":\"X\",\"name\":";
    event += json_string(std::string(to_string(call.op)) + " " + group);
    event += ",\"cat\":" + json_string(to_string(call.path));
    event += ",\"pid\":" + std::to_string(process_of(rank));
    event += ",\"tid\":" + std::to_string(track_of(rank, call.lane));
    event += ",\"ts\":" + micros(timed.begin_s) + ",\"dur\":" + micros(timed.total_s);
    event += ",\"args\":{\"op\":" + json_string(to_string(call.op));
    event += ",\"group\":" + json_string(group);
    event += ",\"ranks\":" + json_string(format_ranks(members));
    event += ",\"path\":" + json_string(to_string(call.path));
    event += ",\"reason\":" + json_string(to_string(call.reason));
    if (call.reason != Reason::ok) event += ",\"why\":" + json_string(explain(call.reason));
    event += ",\"bytes\":" + std::to_string(call.bytes);
    event += ",\"copied_bytes\":" + std::to_string(call.copied_bytes);
    event += ",\"wait_us\":" + micros(timed.wait_s);
    event += ",\"move_us\":" + micros(std::max(timed.total_s - timed.wait_s, 0.0)) + "}}";
    add(event);
  }

  void add_end(std::size_t rank, const RankTimeline& timeline) {
    double end_s = 0;
    for (const TimedCall& timed : timeline.calls) {
      end_s = std::max(end_s, timed.begin_s + timed.total_s);
    }
    const Lane lane = timeline.calls.empty() ? Lane{} : timeline.calls.back().call.lane;
    add("{\"ph\":\"i\",\"s\":\"p\",\"name\":\"" + std::to_string(timeline.dropped) +
        " later calls were not recorded\",\"pid\":" + std::to_string(process_of(rank)) +
        ",\"tid\":" + std::to_string(track_of(rank, lane)) + ",\"ts\":" + micros(end_s) + "}");
  }

  const Layout* layout_;
  std::string events_;
};

}  // namespace

std::size_t trace_calls_max(std::uint32_t rank_count) noexcept {
  constexpr std::size_t kJobCallsMax = 400'000;
  constexpr std::size_t kRankCallsMin = 1024;
  return std::clamp(kJobCallsMax / std::max(1U, rank_count), kRankCallsMin,
                    collectives::Timeline::kCallsDefault);
}

std::string trace_json(std::span<const RankTimeline> ranks, const Layout& layout) {
  Writer writer(layout);
  std::uint64_t dropped = 0;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    writer.add_rank(rank, ranks[rank]);
    dropped += ranks[rank].dropped;
  }
  return writer.finished(dropped);
}

}  // namespace cohort
