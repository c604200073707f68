#pragma once

// A job's calls as a trace that https://ui.perfetto.dev and chrome://tracing open: the JSON of
// Chrome's trace events.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <cohort/layout.hpp>

#include "report/job_timeline.hpp"

namespace cohort {

/// How many calls of a rank are worth recording for a trace, so that its file stays below some
/// 100 MB. Pure.
std::size_t trace_calls_max(std::uint32_t rank_count) noexcept;

/// One process for each rank, in it one track for each lane, and on it every call with its
/// operation, group, ranks, bytes, path and reason. Waiting lies anywhere in a call and is an
/// argument, not a slice. Times are microseconds since the first call. Local, pure.
/// Requires: one timeline for each rank of `layout`.
std::string trace_json(std::span<const RankTimeline> ranks, const Layout& layout);

}  // namespace cohort
