#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "options.hpp"
#include "output.hpp"
#include "subject.hpp"

namespace cohort::gpu_bench {

/// Measures every point with every subject that answers it, in turns, round after round, and writes
/// a document for each point as soon as it is measured. Collective.
/// Ends early once `options.seconds` have gone by since `begin`.
/// A subject that fails or is wrong at a point is left out there, and named. Returns how many were.
std::uint64_t measure(const Options& options, std::chrono::steady_clock::time_point begin,
                      Ranks& ranks, const std::vector<std::unique_ptr<Subject>>& subjects,
                      Output& output);

}  // namespace cohort::gpu_bench
