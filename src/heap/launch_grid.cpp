#include "heap/launch_grid.hpp"

#include <algorithm>
#include <tuple>

#include <cohort/error.hpp>

namespace cohort {
namespace {

constexpr std::uint32_t kWarp = 32;
constexpr std::uint32_t kThreadsMax = 1024;
constexpr std::size_t kStepsMax = 64;
constexpr std::size_t kGridsMax = 256;

std::string describe(const GridRow& row) {
  return std::string(to_string(row.family)) + ", " + std::to_string(row.ranks) + " ranks";
}

[[noreturn]] void refuse(const GridRow& row, const std::string& why) {
  throw Error(ErrorCode::usage, "path table, grid of " + describe(row) + ": " + why, std::nullopt,
              "path table");
}

void check(const GridRow& row) {
  if (row.ranks < 2) refuse(row, "a group of fewer than 2 ranks launches nothing");
  if (row.steps.empty() || row.steps.size() > kStepsMax) {
    refuse(row, "it has " + std::to_string(row.steps.size()) + " steps, 1 to " +
                    std::to_string(kStepsMax) + " are wanted");
  }
  for (std::size_t i = 0; i < row.steps.size(); ++i) {
    const std::uint32_t threads = row.steps[i].threads;
    if (threads == 0 || threads > kThreadsMax || threads % kWarp != 0) {
      refuse(row, std::to_string(threads) + " threads are no multiple of " + std::to_string(kWarp) +
                      " up to " + std::to_string(kThreadsMax));
    }
    if (i > 0 && row.steps[i].lines_max <= row.steps[i - 1].lines_max) {
      refuse(row, "lines_max must grow from step to step");
    }
  }
  if (row.steps.back().lines_max != GridStep::kUnlimited) {
    refuse(row, "the last step must take all other sizes: no lines_max");
  }
}

auto order_of(const GridRow& row) {
  return std::tuple(row.family, row.ranks);
}

}  // namespace

std::string_view to_string(GpuLink link) noexcept {
  switch (link) {
    case GpuLink::unknown: return "unknown";
    case GpuLink::shared: return "shared";
    case GpuLink::pcie: return "pcie";
    case GpuLink::nvlink: return "nvlink";
  }
  return "";
}

std::string to_string(const Gpus& gpus) {
  return gpus.name + " (compute " + gpus.compute + ", driver " + gpus.driver + "), " +
         std::string(to_string(gpus.link));
}

std::string_view to_string(GridFamily family) noexcept {
  return family == GridFamily::move ? "move" : "reduce";
}

GridFamily grid_family(Op op) noexcept {
  const bool reduces =
      op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
  return reduces ? GridFamily::reduce : GridFamily::move;
}

namespace heap {

std::vector<GridRow> checked_grids(std::vector<GridRow> grids) {
  if (grids.size() > kGridsMax) {
    throw Error(ErrorCode::usage, "path table: more than " + std::to_string(kGridsMax) + " grids",
                std::nullopt, "path table");
  }
  for (const GridRow& row : grids) check(row);
  std::sort(grids.begin(), grids.end(), [](const GridRow& left, const GridRow& right) {
    return order_of(left) < order_of(right);
  });
  const auto twice = std::adjacent_find(
      grids.begin(), grids.end(),
      [](const GridRow& left, const GridRow& right) { return order_of(left) == order_of(right); });
  if (twice != grids.end()) refuse(*twice, "it is there twice");
  return grids;
}

std::string grid_line(const GridRow& row) {
  std::string line = "grid of " + describe(row) + ": ";
  for (const GridStep& step : row.steps) {
    line += std::to_string(step.threads) + " threads";
    if (step.lines_max == GridStep::kUnlimited) continue;
    line += " to " + std::to_string(step.lines_max) + " lines, then ";
  }
  return line;
}

}  // namespace heap
}  // namespace cohort
