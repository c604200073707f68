#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <cohort/path_table.hpp>

#include "tune_measure.hpp"

namespace cohort {

struct GpuTuneEffort {
  std::size_t bytes_min = 512;
  std::size_t bytes_max = std::size_t{16} << 20;
  std::uint32_t rounds = 9;
  std::uint32_t graph_calls = 32;  ///< of one graph
  double round_us = 2000;          ///< how long the replays of one round take together
};

/// What was measured of one family of operations, with each of `kGridThreads`.
struct FamilyTimes {
  GridFamily family = GridFamily::move;
  std::vector<GridTimes> times;
  FittedGrid fit;
};

struct GpuTimes {
  std::vector<FamilyTimes> grids;
  std::vector<OpTimes> paths;  ///< with those grids
};

/// Threads of a block that are tried.
std::span<const std::uint32_t> grid_threads() noexcept;

/// Times grids, then every path of GPUs over sizes, in one group of `ranks`, of which each is a
/// thread of this process with a GPU of its own. Calls are replays of graphs, in bf16; grids and
/// paths take turns round by round; a time is the median of its rounds, of each the slowest rank.
/// `progress` is called, on some thread, with what comes next. Local. Throws: Error of the rank
/// that failed.
GpuTimes measure_gpus(std::uint32_t ranks, const GpuTuneEffort& effort,
                      const std::function<void(const std::string&)>& progress);

}  // namespace cohort
