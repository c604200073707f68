// A sample of what `sim_schedules` runs more of.

#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "sim/world.hpp"

namespace cohort::sim {
namespace {

constexpr std::uint64_t kSampleSeeds = 350;

std::uint32_t ranks_of(std::uint64_t seed) {
  return 2 + static_cast<std::uint32_t>(seed % 7);
}

TEST(Schedules, EveryResultEqualsTheReference) {
  Worlds worlds;
  Met all;
  for (std::uint64_t seed = 1; seed <= kSampleSeeds; ++seed) {
    const RunEnd end = run_random(worlds, ranks_of(seed), seed);
    ASSERT_EQ(end.failure(), "") << "seed " << seed << " on " << ranks_of(seed) << " ranks";
    const Met& met = end.ranks.front().met;
    all.refusals += met.refusals;
    all.recommits += met.recommits;
    all.failed_recommits += met.failed_recommits;
    all.over_budget += met.over_budget;
  }
  // The programs are of more than calls that go well.
  EXPECT_GT(all.refusals, 100U);
  EXPECT_GT(all.recommits, 50U);
  EXPECT_GT(all.failed_recommits, 25U);
  EXPECT_GT(all.over_budget, 15U);
}

TEST(Schedules, AFreshSeedHoldsToo) {
  const std::uint64_t seed = std::random_device{}();
  std::printf("seed %llu on %u ranks\n", static_cast<unsigned long long>(seed), ranks_of(seed));
  Worlds worlds;
  EXPECT_EQ(run_random(worlds, ranks_of(seed), seed).failure(), "");
}

TEST(Schedules, FollowFromTheirSeed) {
  Worlds worlds;
  Worlds others;
  for (std::uint64_t seed = 1; seed <= 14; ++seed) {
    const RunEnd one = run_random(worlds, ranks_of(seed), seed);
    const RunEnd again = run_random(others, ranks_of(seed), seed);
    EXPECT_EQ(one.schedule_hash, again.schedule_hash) << "seed " << seed;
  }
}

/// How many schedules it takes to notice that a step of the protocol is left out.
std::uint64_t schedules_until_found(std::string_view step, std::uint64_t limit) {
  Worlds worlds;
  for (std::uint64_t seed = 1; seed <= limit; ++seed) {
    if (!run_random(worlds, ranks_of(seed), seed, step).failure().empty()) return seed;
  }
  return limit + 1;
}

TEST(Schedules, FindStepsThatAreLeftOut) {
  for (const char* step : {"the wait for readers", "order of the header",
                           "the root's look at headers", "a refused rank's done"}) {
    const std::uint64_t found = schedules_until_found(step, 300);
    std::printf("without %s: found by schedule %llu\n", step,
                static_cast<unsigned long long>(found));
    EXPECT_LE(found, 300U) << step;
  }
}

}  // namespace
}  // namespace cohort::sim
