#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include <cohort/verdict.hpp>

#include "tune_fit.hpp"

namespace cohort {

/// One arrangement of ranks that is measured: all groups of a world work at the same time.
struct TuneArrangement {
  std::uint32_t group_ranks = 2;
  std::uint32_t world_ranks = 2;  ///< a multiple of group_ranks
};

struct TuneEffort {
  std::size_t bytes_max = 256 * 1024;
  std::uint32_t rounds = 9;
  double batch_us = 400;  ///< how long the calls between two looks at the clock take together
};

/// What was measured for one operation, by growing bytes.
struct OpTimes {
  Op op = Op::all_reduce;
  std::vector<PathTimes> times;
};

/// How many operations `measure_paths` measures.
std::size_t tuned_op_count() noexcept;

/// Times every path of the host over sizes. Ranks are threads of this process. Rounds of all paths
/// take turns, so that drift hits all alike; a time is the median of its rounds on the slowest
/// rank. `progress` is called, on some thread, before each operation. Local.
/// Throws: Error of the rank that failed.
std::vector<OpTimes> measure_paths(const TuneArrangement& arrangement, const TuneEffort& effort,
                                   const std::function<void(Op)>& progress);

}  // namespace cohort
