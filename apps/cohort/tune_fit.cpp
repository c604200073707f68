#include "tune_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cohort {

namespace {

/// A change of path must save as much as 20 % at one size, or less at each of several.
constexpr double kPathChangeCost = 0.2;
/// Grids are flat around the best: what more steps cost is only their text.
constexpr double kGridChangeCost = 0.03;
constexpr double kNever = std::numeric_limits<double>::infinity();

using Times = std::vector<double>;  // of one size, by choice; kNever where there is none

double best_of(const Times& times) {
  return *std::min_element(times.begin(), times.end());
}

double loss(const Times& times, std::size_t choice) {
  return times[choice] == kNever ? kNever : std::log(times[choice] / best_of(times));
}

/// The choice of every size that loses least, where each change costs so much.
std::vector<std::size_t> choose(const std::vector<Times>& times, double change_cost) {
  const std::size_t choices = times.front().size();
  // The cheapest way to come to each (size, choice), and the choice of the size before on that way.
  std::vector<std::vector<double>> cost(times.size(), std::vector<double>(choices));
  std::vector<std::vector<std::size_t>> from(times.size(), std::vector<std::size_t>(choices));
  for (std::size_t i = 0; i < times.size(); ++i) {
    for (std::size_t choice = 0; choice < choices; ++choice) {
      double before = 0;
      from[i][choice] = choice;
      if (i > 0) {
        before = cost[i - 1][choice];
        for (std::size_t other = 0; other < choices; ++other) {
          if (cost[i - 1][other] + change_cost >= before) continue;
          before = cost[i - 1][other] + change_cost;
          from[i][choice] = other;
        }
      }
      cost[i][choice] = before + loss(times[i], choice);
    }
  }
  const auto& last = cost.back();
  std::vector<std::size_t> chosen(times.size());
  chosen.back() =
      static_cast<std::size_t>(std::min_element(last.begin(), last.end()) - last.begin());
  for (std::size_t i = times.size() - 1; i > 0; --i) chosen[i - 1] = from[i][chosen[i]];
  return chosen;
}

double worst_regret(const std::vector<Times>& times, const std::vector<std::size_t>& chosen) {
  double worst = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    worst = std::max(worst, times[i][chosen[i]] / best_of(times[i]) - 1);
  }
  return worst;
}

/// Calls `step(i)` for the last size of every run of equal choices.
template <typename Step>
void for_each_run(const std::vector<std::size_t>& chosen, const Step& step) {
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (i + 1 == chosen.size() || chosen[i + 1] != chosen[i]) step(i);
  }
}

}  // namespace

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

FittedSteps fit_steps(std::span<const PathTimes> times) {
  std::vector<Times> all;
  for (const PathTimes& of_size : times) {
    Times& row = all.emplace_back();
    for (const auto& us : of_size.us) row.push_back(us.value_or(kNever));
  }
  const std::vector<std::size_t> chosen = choose(all, kPathChangeCost);
  FittedSteps fitted{{}, worst_regret(all, chosen)};
  for_each_run(chosen, [&](std::size_t i) {
    fitted.steps.push_back({static_cast<Path>(chosen[i]), times[i].bytes});
  });
  fitted.steps.back().bytes_max = PathStep::kUnlimited;
  return fitted;
}

FittedGrid fit_grid(std::span<const std::uint32_t> threads, std::span<const GridTimes> times) {
  std::vector<Times> all;
  for (const GridTimes& of_size : times) all.push_back(of_size.us);
  const std::vector<std::size_t> chosen = choose(all, kGridChangeCost);
  FittedGrid fitted{{}, worst_regret(all, chosen)};
  for_each_run(chosen, [&](std::size_t i) {
    fitted.steps.push_back({threads[chosen[i]], times[i].lines});
  });
  fitted.steps.back().lines_max = GridStep::kUnlimited;
  return fitted;
}

}  // namespace cohort
