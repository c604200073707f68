#include "tune_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace cohort {
namespace {

constexpr std::size_t kInline = static_cast<std::size_t>(Path::host_inline);
constexpr std::size_t kDirect = static_cast<std::size_t>(Path::host_direct);
constexpr std::size_t kStaged = static_cast<std::size_t>(Path::host_staged);

PathTimes times(std::size_t bytes, std::optional<double> in_line, std::optional<double> direct,
                std::optional<double> staged = {}) {
  PathTimes made;
  made.bytes = bytes;
  made.us[kInline] = in_line;
  made.us[kDirect] = direct;
  made.us[kStaged] = staged;
  return made;
}

TEST(TuneFit, PutsTheThresholdWhereTheFasterPathChanges) {
  const std::vector<PathTimes> all = {times(8, 1, 2), times(16, 1, 2), times(32, 2, 2.1),
                                      times(64, 4, 3), times(128, {}, 5)};
  const FittedSteps fit = fit_steps(all);
  EXPECT_EQ(fit.steps, (std::vector<PathStep>{{Path::host_inline, 32}, {Path::host_direct}}));
  EXPECT_EQ(fit.worst_regret, 0);
}

TEST(TuneFit, OnePathThroughoutNeedsNoThreshold) {
  const std::vector<PathTimes> all = {times(8, 2, 1), times(16, {}, 1)};
  EXPECT_EQ(fit_steps(all).steps, (std::vector<PathStep>{{Path::host_direct}}));
}

TEST(TuneFit, NoiseOfAFewPercentMakesNoThresholds) {
  const std::vector<PathTimes> all = {times(8, 1, 2),       times(16, 1.02, 1), times(32, 1, 1.3),
                                      times(64, 1.04, 1.0), times(128, 1, 1.2), times(256, 3, 1)};
  const FittedSteps fit = fit_steps(all);
  EXPECT_EQ(fit.steps, (std::vector<PathStep>{{Path::host_inline, 128}, {Path::host_direct}}));
  EXPECT_NEAR(fit.worst_regret, 0.04, 1e-9);
}

TEST(TuneFit, AnyPathServesWhereItIsFaster) {
  const std::vector<PathTimes> all = {times(8, 1, 2, 3), times(16, {}, 2, 1), times(32, {}, 2, 1)};
  EXPECT_EQ(fit_steps(all).steps,
            (std::vector<PathStep>{{Path::host_inline, 8}, {Path::host_staged}}));
}

double cost_of(const std::vector<PathTimes>& all, const std::vector<std::size_t>& paths) {
  double cost = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].us[paths[i]]) return std::numeric_limits<double>::infinity();
    double best = std::numeric_limits<double>::infinity();
    for (const auto& us : all[i].us) best = std::min(best, us.value_or(best));
    cost += std::log(*all[i].us[paths[i]] / best);
    if (i > 0 && paths[i] != paths[i - 1]) cost += 0.2;
  }
  return cost;
}

TEST(TuneFit, TheMedianIsTheMiddleValue) {
  EXPECT_EQ(median({5}), 5);
  EXPECT_EQ(median({9, 1, 4}), 4);
  EXPECT_EQ(median({8, 2}), 8);
}

TEST(TuneFit, NoOtherChoiceLosesLess) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> drawn(1, 1.5);
  for (int round = 0; round < 300; ++round) {
    std::vector<PathTimes> all;
    const std::size_t count = 1 + random() % 6;
    for (std::size_t i = 0; i < count; ++i) {
      all.push_back(times(8U << i, drawn(random), drawn(random), drawn(random)));
      if (i > 3) all.back().us[kInline].reset();
    }
    double best = std::numeric_limits<double>::infinity();
    std::size_t combinations = 1;
    for (std::size_t i = 0; i < count; ++i) combinations *= 3;
    for (std::size_t code = 0; code < combinations; ++code) {
      std::vector<std::size_t> paths;
      for (std::size_t i = 0, rest = code; i < count; ++i, rest /= 3) {
        paths.push_back(kInline + rest % 3);
      }
      best = std::min(best, cost_of(all, paths));
    }
    const FittedSteps fit = fit_steps(all);
    std::vector<std::size_t> chosen;
    double worst = 0;
    for (const PathTimes& at : all) {
      const auto step = std::find_if(fit.steps.begin(), fit.steps.end(),
                                     [&](const PathStep& it) { return at.bytes <= it.bytes_max; });
      ASSERT_NE(step, fit.steps.end());
      chosen.push_back(static_cast<std::size_t>(step->path));
      const double fastest = **std::min_element(
          at.us.begin() + kInline, at.us.end(),
          [](const auto& l, const auto& r) { return l.value_or(1e9) < r.value_or(1e9); });
      worst = std::max(worst, *at.us[chosen.back()] / fastest - 1);
    }
    ASSERT_NEAR(cost_of(all, chosen), best, 1e-9);
    ASSERT_NEAR(fit.worst_regret, worst, 1e-9);
  }
}

}  // namespace
}  // namespace cohort
