#pragma once

// What a report shows of a job, as one JSON document: the page's figures come from it alone. Pure.
//
// {"schema": 1, "version", "kind": "generate",
//  "layout":        as `cohort groups --json`: {"world", "sizes", "groups"},
//  "plan":          as `cohort plan --json`: {"paths", "slots", "pools", "footprint"}, and
//                   {"slots_in_arena"},
//  "communication": [{"group", "ranks", "op", "path", "reason", "calls", "bytes", ...}],
//  "reasons":       [{"reason", "meaning", "todo"}], those that occur in "communication",
//  "timeline":      {"end_us", "keys": [{"group", "lane", "op", "path", "reason"}],
//                    "ranks": [{"rank", "dropped", "move_us", "wait_us",
//                               "calls": [[begin_us, total_us, wait_us, key, bytes, copied]]}]},
//  "boundaries":    [{"title", "rows", "boundaries": [{"name", "before", "steps", "after"}]}],
//  "run":           what the command adds: prompts, times}

#include <span>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <cohort/layout.hpp>
#include <cohort/ledger.hpp>
#include <cohort/plan.hpp>

#include "report/job_timeline.hpp"

namespace cohort {

/// What a rank's timeline may hold so that the page of the whole job stays small.
std::size_t report_calls_max(std::uint32_t rank_count) noexcept;

/// Ledger rows as JSON: of `cohort generate --json` and of reports.
nlohmann::ordered_json ledger_json(std::span<const LedgerRow> rows);

/// A reason in words: what it means and, where there is something, what to do about it.
struct ReasonWords {
  std::string_view meaning;
  std::string_view todo;
};
ReasonWords words_of(Reason reason) noexcept;

/// The reasons of these rows in words, each once.
nlohmann::ordered_json reasons_json(std::span<const LedgerRow> rows);

/// Of every rank the first `report_calls_max` calls; the rest counts as dropped.
nlohmann::ordered_json timeline_json(std::span<const RankTimeline> ranks);

/// Sizes and groups, as `cohort groups --json` has them.
nlohmann::ordered_json groups_json(const Layout& layout);

/// What each boundary of a layer moves, with rows that make every rank's part visible: of a step
/// whose rows are counted by chunk, if there is context parallelism, and of one by replica. Ranks
/// are those of one pipeline stage.
nlohmann::ordered_json boundaries_json(const Layout& layout);

/// The whole document. `run` is what the command adds.
nlohmann::ordered_json job_document(const Plan& plan, std::span<const LedgerRow> communication,
                                    std::span<const RankTimeline> timelines,
                                    const nlohmann::ordered_json& run);

}  // namespace cohort
