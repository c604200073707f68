#pragma once

// cohort itself as a measured implementation, and beside it the references that need nothing of it.

#include <cohort/memory.hpp>
#include <cohort/path_table.hpp>

#include "bench_worker.hpp"

namespace cohort::bench {

/// Serves the command as one rank of cohort, or of the references "memcpy", "yield_barrier" and
/// "spin_barrier". `paths` decides what cohort's calls take. Collective over all ranks that the
/// command started.
/// Throws: Error, std::runtime_error.
void run_bench_rank(const WorkerSettings& settings, const PathTable& paths, Memory memory);

}  // namespace cohort::bench
