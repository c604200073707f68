// Health as words, lines and JSON.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <map>
#include <utility>

#include <cohort/health.hpp>
#include <cohort/version.hpp>

#include "base/json_string.hpp"

namespace cohort {
namespace {

constexpr std::array<std::string_view, kRankActivityCount> kActivities{
    "joining", "joined", "working", "waiting", "stalled", "idle", "left", "dead"};
constexpr std::array<std::string_view, kHealthVerdictCount> kVerdicts{"healthy", "stalled",
                                                                      "failed", "ended"};

std::string decimals(double value, const char* pattern) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), pattern, value);
  return text.data();
}

std::string seconds_text(double seconds) {
  return decimals(seconds, "%.1f s");
}

std::string name_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

std::string line_of(const RankHealth& rank) {
  std::string line = name_of(rank.rank) + "  " + std::string(to_string(rank.activity));
  if (rank.activity == RankActivity::idle && rank.idle_s) line += " " + seconds_text(*rank.idle_s);
  if (rank.wait) {
    const RankWait& wait = *rank.wait;
    if (rank.activity == RankActivity::idle) line += ", waiting";
    line += " " + seconds_text(wait.waited_s) + " for " + name_of(wait.rank);
    if (wait.for_idle && rank.activity != RankActivity::idle) line += " (outside work)";
    if (!wait.subject.empty()) line += " in " + wait.subject;
  }
  if (rank.stopped) line += "; its process " + std::to_string(rank.pid) + " is stopped";
  if (rank.stalls != 0) {
    line += "; stalls: " + std::to_string(rank.stalls);
    if (rank.last_stalled_on) line += ", the last for " + name_of(*rank.last_stalled_on);
  }
  return line + "\n";
}

/// "calls  tp lane 0: 17 17 16 -": one line for each lane of each kind, ranks in order.
std::string calls_text(const std::vector<RankHealth>& ranks) {
  std::map<std::pair<GroupKind, std::uint32_t>, std::vector<std::uint64_t>> lanes;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const CallCount& count : ranks[rank].calls) {
      auto& sequences = lanes[{count.group, count.lane.index()}];
      sequences.resize(ranks.size());
      sequences[rank] = count.sequence;
    }
  }
  std::string text;
  for (const auto& [lane, sequences] : lanes) {
    text += "calls on " + std::string(to_string(lane.first)) + " lane " +
            std::to_string(lane.second) + ":";
    for (const std::uint64_t sequence : sequences) {
      text += sequence == 0 ? " -" : " " + std::to_string(sequence);
    }
    text += "\n";
  }
  return text;
}

std::string number_or_null(const std::optional<WorldRank>& rank) {
  return rank ? std::to_string(rank->index()) : "null";
}

std::string wait_json(const RankHealth& rank) {
  if (!rank.wait) return "null";
  const RankWait& wait = *rank.wait;
  return R"({"rank":)" + std::to_string(wait.rank.index()) + R"(,"waited_s":)" +
         decimals(wait.waited_s, "%.3f") + R"(,"for_idle":)" + (wait.for_idle ? "true" : "false") +
         R"(,"subject":)" + json_string(wait.subject) + "}";
}

std::string rank_json(const RankHealth& rank) {
  std::string text =
      R"({"rank":)" + std::to_string(rank.rank.index()) + R"(,"state":")" +
      std::string(to_string(rank.activity)) + R"(","pid":)" + std::to_string(rank.pid) +
      R"(,"stopped":)" + (rank.stopped ? "true" : "false") + R"(,"waiting":)" + wait_json(rank) +
      R"(,"idle_s":)" + (rank.idle_s ? decimals(*rank.idle_s, "%.3f") : "null") +
      R"(,"generation":)" + std::to_string(rank.generation) + R"(,"stalls":)" +
      std::to_string(rank.stalls) + R"(,"stalled_s":)" + decimals(rank.stalled_s, "%.3f") +
      R"(,"last_stalled_on":)" + number_or_null(rank.last_stalled_on) + R"(,"calls":[)";
  for (const CallCount& count : rank.calls) {
    if (&count != &rank.calls.front()) text += ",";
    text += R"({"group":")" + std::string(to_string(count.group)) + R"(","lane":)" +
            std::to_string(count.lane.index()) + R"(,"sequence":)" +
            std::to_string(count.sequence) + "}";
  }
  return text + "]}";
}

std::string fault_json(const std::optional<Error>& fault) {
  if (!fault) return "null";
  return R"({"code":")" + std::string(to_string(fault->code())) + R"(","message":)" +
         json_string(fault->what()) + R"(,"rank":)" + number_or_null(fault->rank()) +
         R"(,"phase":)" + (fault->phase().empty() ? "null" : json_string(fault->phase())) + "}";
}

}  // namespace

std::string_view to_string(RankActivity activity) noexcept {
  const auto index = static_cast<std::size_t>(activity);
  return index < kActivities.size() ? kActivities[index] : "unknown";
}

std::string_view to_string(HealthVerdict verdict) noexcept {
  const auto index = static_cast<std::size_t>(verdict);
  return index < kVerdicts.size() ? kVerdicts[index] : "unknown";
}

std::optional<RankActivity> rank_activity_from_string(std::string_view name) noexcept {
  const auto found = std::find(kActivities.begin(), kActivities.end(), name);
  if (found == kActivities.end()) return std::nullopt;
  return static_cast<RankActivity>(found - kActivities.begin());
}

HealthVerdict Health::verdict() const noexcept {
  const auto any = [&](auto condition) { return std::ranges::any_of(ranks, condition); };
  if (fault || any([](const RankHealth& r) { return r.activity == RankActivity::dead; })) {
    return HealthVerdict::failed;
  }
  if (any([](const RankHealth& r) { return r.activity == RankActivity::stalled || r.stopped; })) {
    return HealthVerdict::stalled;
  }
  const bool here = any([](const RankHealth& r) { return r.activity != RankActivity::left; });
  return here ? HealthVerdict::healthy : HealthVerdict::ended;
}

std::string to_text(const Health& health) {
  std::string text = std::string(to_string(health.verdict())) + ": " +
                     std::to_string(health.ranks.size()) +
                     (health.ranks.size() == 1 ? " rank" : " ranks") + ", generation " +
                     std::to_string(health.generation) + "\n";
  if (health.fault) {
    text += "fault: " + std::string(to_string(health.fault->code())) + ": " + health.fault->what();
    if (!health.fault->phase().empty()) text += " (in " + health.fault->phase() + ")";
    text += "\n";
  }
  for (const RankHealth& rank : health.ranks) text += line_of(rank);
  return text + calls_text(health.ranks);
}

std::string to_json(const Health& health) {
  std::string text = R"({"schema":1,"version":")" COHORT_VERSION R"(","verdict":")" +
                     std::string(to_string(health.verdict())) + R"(","taken_at_s":)" +
                     decimals(health.taken_at_s, "%.3f") + R"(,"stall_limit_s":)" +
                     decimals(health.stall_limit_s, "%.3f") + R"(,"generation":)" +
                     std::to_string(health.generation) + R"(,"fault":)" + fault_json(health.fault) +
                     R"(,"ranks":[)";
  for (const RankHealth& rank : health.ranks) {
    if (&rank != &health.ranks.front()) text += ",";
    text += rank_json(rank);
  }
  return text + "]}";
}

}  // namespace cohort
