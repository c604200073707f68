#include "report/job_document.hpp"

#include <algorithm>
#include <array>
#include <string>

#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "heap/arena_layout.hpp"
#include "report/plan_json.hpp"
#include "topology/describe.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;

Json ranks_json(std::span<const WorldRank> ranks) {
  Json list = Json::array();
  for (const WorldRank rank : ranks) list.push_back(rank.index());
  return list;
}

Json plan_json(const Plan& plan) {
  return {{"paths", plan.options().path_table.lines()},
          {"slots_in_arena", heap::arena_layout(plan).slots_in_arena},
          {"slots", slots_json(plan)},
          {"pools", pools_json(plan)},
          {"footprint", footprint_json(footprint(plan), plan.layout().world_size())}};
}

}  // namespace

Json ledger_json(std::span<const LedgerRow> rows) {
  Json list = Json::array();
  for (const LedgerRow& row : rows) {
    list.push_back({{"group", to_string(row.group)},
                    {"ranks", ranks_json(row.ranks)},
                    {"op", to_string(row.op)},
                    {"path", to_string(row.path)},
                    {"reason", to_string(row.reason)},
                    {"calls", row.calls},
                    {"bytes", row.bytes},
                    {"copied_bytes", row.copied_bytes},
                    {"transfer_s", row.transfer_s},
                    {"wait_s", row.wait_s}});
  }
  return list;
}

ReasonWords words_of(Reason reason) noexcept {
  // "what it means; what to do": the one sentence for people, which verdicts and errors quote too.
  const std::string_view sentence = explain(reason);
  constexpr std::string_view kBetween = "; ";
  const std::size_t end = sentence.rfind(kBetween);
  if (end == std::string_view::npos) return {sentence, {}};
  return {sentence.substr(0, end), sentence.substr(end + kBetween.size())};
}

Json reasons_json(std::span<const LedgerRow> rows) {
  std::array<bool, kReasonCount> occurs{};
  for (const LedgerRow& row : rows) occurs.at(static_cast<std::size_t>(row.reason)) = true;
  Json list = Json::array();
  for (std::size_t i = 0; i < kReasonCount; ++i) {
    if (!occurs.at(i)) continue;
    const auto reason = static_cast<Reason>(i);
    const ReasonWords words = words_of(reason);
    list.push_back(
        {{"reason", to_string(reason)}, {"meaning", words.meaning}, {"todo", words.todo}});
  }
  return list;
}

Json groups_json(const Layout& layout) {
  Json groups = Json::parse(groups_as_json(layout));
  groups.erase("schema");
  groups.erase("version");
  return groups;
}

Json job_document(const Plan& plan, std::span<const LedgerRow> communication,
                  std::span<const RankTimeline> timelines, const Json& run) {
  return {{"schema", 1},
          {"version", COHORT_VERSION},
          {"kind", "generate"},
          {"layout", groups_json(plan.layout())},
          {"plan", plan_json(plan)},
          {"communication", ledger_json(communication)},
          {"reasons", reasons_json(communication)},
          {"timeline", timeline_json(timelines)},
          {"boundaries", boundaries_json(plan.layout())},
          {"run", run}};
}

}  // namespace cohort
