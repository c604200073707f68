#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <tuple>

#include <nlohmann/json.hpp>

#include "report/job_document.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;

// Of all ranks together: some 2 MB of page.
constexpr std::size_t kJobCallsMax = 60'000;
constexpr std::size_t kRankCallsMax = 8'192;
constexpr std::size_t kRankCallsMin = 256;

/// Microseconds to a nanosecond, so that no call costs seventeen digits.
double micros(double seconds) {
  return std::round(seconds * 1e9) / 1e3;
}

/// What calls have in common, each once.
class Keys {
 public:
  std::size_t number_of(const collectives::RecordedCall& call) {
    const Key key{call.group, call.lane.index(), call.op, call.path, call.reason};
    const auto [found, is_new] = numbers_.try_emplace(key, numbers_.size());
    if (is_new) {
      list_.push_back({{"group", to_string(call.group)},
                       {"lane", call.lane.index()},
                       {"op", to_string(call.op)},
                       {"path", to_string(call.path)},
                       {"reason", to_string(call.reason)}});
    }
    return found->second;
  }
  const Json& list() const noexcept { return list_; }

 private:
  using Key = std::tuple<GroupKind, std::uint32_t, Op, Path, Reason>;
  std::map<Key, std::size_t> numbers_;
  Json list_ = Json::array();
};

}  // namespace

std::size_t report_calls_max(std::uint32_t rank_count) noexcept {
  return std::clamp(kJobCallsMax / std::max(1U, rank_count), kRankCallsMin, kRankCallsMax);
}

Json timeline_json(std::span<const RankTimeline> ranks) {
  const std::size_t calls_max = report_calls_max(static_cast<std::uint32_t>(ranks.size()));
  Keys keys;
  double end_s = 0;
  Json list = Json::array();
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    double move_s = 0;
    double wait_s = 0;
    Json calls = Json::array();
    const std::span<const TimedCall> all = ranks[rank].calls;
    const std::span<const TimedCall> shown = all.first(std::min(all.size(), calls_max));
    for (const TimedCall& timed : shown) {
      end_s = std::max(end_s, timed.begin_s + timed.total_s);
      move_s += timed.total_s - timed.wait_s;
      wait_s += timed.wait_s;
      calls.push_back(
          Json::array({micros(timed.begin_s), micros(timed.total_s), micros(timed.wait_s),
                       keys.number_of(timed.call), timed.call.bytes, timed.call.copied_bytes}));
    }
    list.push_back({{"rank", rank},
                    {"dropped", ranks[rank].dropped + (all.size() - shown.size())},
                    {"move_us", micros(move_s)},
                    {"wait_us", micros(wait_s)},
                    {"calls", calls}});
  }
  return {{"end_us", micros(end_s)}, {"keys", keys.list()}, {"ranks", list}};
}

}  // namespace cohort
