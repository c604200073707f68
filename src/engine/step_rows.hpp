#pragma once

#include <cstddef>
#include <vector>

#include <cohort/context_parallel.hpp>
#include <cohort/ids.hpp>
#include <cohort/layer.hpp>
#include <cohort/layout.hpp>

#include "engine/schedule.hpp"
#include "model/llama.hpp"

namespace cohort {

/// A scheduled step as one rank computes it: its attention rows, what it caches, and whose next
/// tokens all ranks get to know.
///
/// A prefill step shares each replica's tokens among its context-parallel ranks; in a decode step
/// they all compute the replica's rows, as each of them has all keys and values.
struct StepRows {
  BatchRows rows;
  BatchRows last_rows;
  std::vector<TokenId> tokens;                   // by attention row
  std::vector<TokenRun> runs;                    // the attention rows
  std::vector<TokenRun> cached_runs;             // by gathered row
  std::vector<std::size_t> own_last_rows;        // attention rows, in order
  std::vector<std::size_t> requests;             // of each of the batch's last rows, in order
  std::vector<std::size_t> replica_last_counts;  // last rows by replica

  LlamaStep view() const noexcept {
    return {.tokens = tokens,
            .runs = runs,
            .cached_runs = cached_runs,
            .last_rows = own_last_rows,
            .batch_row_count = rows.total(),
            .batch_last_row_count = last_rows.total()};
  }
};

/// Local, pure. Requires: a rank of the layout's only pipeline stage.
StepRows step_rows(const Layout& layout, WorldRank rank, const Schedule& schedule,
                   const ScheduledStep& step);

}  // namespace cohort
