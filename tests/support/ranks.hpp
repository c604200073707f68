#pragma once

// Runs a test body on every rank of a small world.

#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <cohort/error.hpp>
#include <cohort/world.hpp>

namespace cohort::test {

/// Whether ranks share this process or have one each.
enum class RankMode { threads, processes };
void PrintTo(RankMode mode, std::ostream* stream);
std::string to_string(RankMode mode);

/// How one rank ended.
struct RankResult {
  std::optional<Error> error;  ///< what it threw, if anything
  std::string output;          ///< what its body returned
};

/// Deadlines for machines that do much else: a test may wait long, but not decide by time.
WaitLimits patient_limits();

using RankBody = std::function<std::string(World&)>;

/// Runs `body` on `rank_count` ranks that have joined one world; results by world rank. What a body
/// throws ends its world there and lands in its result.
///
/// With RankMode::processes every rank is a new process of this test binary that runs the current
/// test from its beginning up to this call, then the body: what comes before the call must be
/// cheap and the same every time, a test can hold one such call only, and the body hands results
/// back by returning them. Failed expectations inside a body fail the test in both modes.
std::vector<RankResult> run_ranks(RankMode mode, std::uint32_t rank_count, const RankBody& body,
                                  const WaitLimits& limits = patient_limits());

/// Fails the current test for every rank that ended with an error.
void expect_no_errors(const std::vector<RankResult>& results);

}  // namespace cohort::test
