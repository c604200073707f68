#pragma once

// From times to thresholds: pure.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <cohort/path_table.hpp>
#include <cohort/verdict.hpp>

namespace cohort {

/// Of at least one value; of two, the larger.
double median(std::vector<double> values);

/// What a call of this size took on each path; nothing where the path cannot take it.
struct PathTimes {
  std::size_t bytes = 0;
  std::array<std::optional<double>, kPathCount> us{};
};

struct FittedSteps {
  std::vector<PathStep> steps;
  double worst_regret = 0;  ///< 0.05: at some size the chosen path takes 5 % longer than the best
};

/// The steps that lose least against the fastest path of every size, where changing the path once
/// more has to pay for itself: noise must not make thresholds. A threshold lies at the last size
/// measured on its path. `times` by growing bytes, not empty, at least one path each. Pure.
FittedSteps fit_steps(std::span<const PathTimes> times);

/// What a call of so many lines took with each number of threads a block.
struct GridTimes {
  std::uint64_t lines = 0;
  std::vector<double> us;
};

struct FittedGrid {
  std::vector<GridStep> steps;
  double worst_regret = 0;
};

/// The same of grids; `us` of every size are by `threads`. Pure.
FittedGrid fit_grid(std::span<const std::uint32_t> threads, std::span<const GridTimes> times);

}  // namespace cohort
