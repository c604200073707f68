#pragma once

// A job that nobody ran, of any layout: what a report is made from, for tests and for looking at.

#include <vector>

#include <cohort/layout.hpp>
#include <cohort/ledger.hpp>
#include <cohort/plan.hpp>

#include "report/job_timeline.hpp"

namespace cohort::test {

struct SampleJob {
  Plan plan;
  std::vector<LedgerRow> communication;
  std::vector<RankTimeline> timelines;
};

/// Slots, a pool and staging rings; calls of `layers` layers on every path and with several
/// reasons, ragged over the ranks. The same every time. Pure.
SampleJob sample_job(const LayoutSizes& sizes, std::uint32_t layers);

}  // namespace cohort::test
