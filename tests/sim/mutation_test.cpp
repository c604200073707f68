// A sample of what `sim_schedules --mutations` runs more of.

#include "sim/mutation.hpp"

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "sim/judge.hpp"

namespace cohort::sim {
namespace {

constexpr std::uint64_t kSampleSeeds = 330;

std::uint32_t ranks_of(std::uint64_t seed) {
  return 2 + static_cast<std::uint32_t>(seed % 7);
}

TEST(Mutations, EndAsForetold) {
  Worlds worlds;
  std::array<int, 3> outcomes{};
  for (std::uint64_t seed = 1; seed <= kSampleSeeds; ++seed) {
    const Mutation mutation = random_mutation(ranks_of(seed), seed);
    const Foretold foretold = foretell(mutation.layout, mutation.programs);
    ++outcomes[static_cast<std::size_t>(foretold.outcome)];
    const RunEnd end = worlds.run(mutation.layout, foretold.programs, seed);
    ASSERT_EQ(disagreement(mutation, foretold, end), "") << "seed " << seed;
  }
  for (const int count : outcomes) EXPECT_GT(count, 10);
}

TEST(Mutations, AreNoticedBecauseHeadersAreCompared) {
  Worlds worlds;
  int silent = 0;
  for (std::uint64_t seed = 1; seed <= 110; ++seed) {
    const Mutation mutation = random_mutation(ranks_of(seed), seed);
    const RunEnd end = worlds.run(mutation.layout, mutation.programs, seed, "headers");
    if (classify(end) == Unchecked::silent) ++silent;
  }
  EXPECT_GT(silent, 5);
}

TEST(Mutations, UnchangedProgramsAreForetoldToEndWell) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Mutation mutation = random_mutation(ranks_of(seed), seed);
    const auto another = mutation.rank.index() == 0 ? 1U : 0U;
    mutation.programs[mutation.rank.index()] = mutation.programs[another];
    EXPECT_EQ(foretell(mutation.layout, mutation.programs).outcome, Outcome::well);
  }
}

}  // namespace
}  // namespace cohort::sim
