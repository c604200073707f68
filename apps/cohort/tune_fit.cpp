#include "tune_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cohort {

namespace {

/// A change of path must save as much as 20 % at one size, or less at each of several.
constexpr double kChangeCost = 0.2;
constexpr double kNever = std::numeric_limits<double>::infinity();

double best_of(const PathTimes& times) {
  double best = kNever;
  for (const auto& us : times.us) best = std::min(best, us.value_or(kNever));
  return best;
}

double loss(const PathTimes& times, std::size_t path) {
  if (!times.us[path]) return kNever;
  return std::log(*times.us[path] / best_of(times));
}

}  // namespace

FittedSteps fit_steps(std::span<const PathTimes> times) {
  // The cheapest way to come to each (size, path), and the path of the size before on that way.
  std::vector<std::array<double, kPathCount>> cost(times.size());
  std::vector<std::array<std::size_t, kPathCount>> from(times.size());
  for (std::size_t i = 0; i < times.size(); ++i) {
    for (std::size_t path = 0; path < kPathCount; ++path) {
      double before = 0;
      from[i][path] = path;
      if (i > 0) {
        before = cost[i - 1][path];
        for (std::size_t other = 0; other < kPathCount; ++other) {
          if (cost[i - 1][other] + kChangeCost >= before) continue;
          before = cost[i - 1][other] + kChangeCost;
          from[i][path] = other;
        }
      }
      cost[i][path] = before + loss(times[i], path);
    }
  }
  const auto& last = cost.back();
  auto path = static_cast<std::size_t>(std::min_element(last.begin(), last.end()) - last.begin());
  FittedSteps fitted;
  fitted.steps.push_back({static_cast<Path>(path)});
  for (std::size_t i = times.size(); i-- > 0;) {
    fitted.worst_regret = std::max(fitted.worst_regret, *times[i].us[path] / best_of(times[i]) - 1);
    const std::size_t before = from[i][path];
    if (i > 0 && before != path) {
      fitted.steps.push_back({static_cast<Path>(before), times[i - 1].bytes});
    }
    path = before;
  }
  std::reverse(fitted.steps.begin(), fitted.steps.end());
  return fitted;
}

}  // namespace cohort
