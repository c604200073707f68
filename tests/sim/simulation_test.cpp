// The simulator on its own: schedules follow from seeds, hangs are found at once.

#include "sim/simulation.hpp"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::sim {
namespace {

std::string order_of(std::uint64_t seed) {
  Stacks stacks;
  Simulation simulation(stacks, 3, seed);
  std::string order;
  simulation.run([&](std::uint32_t rank) {
    for (int i = 0; i < 20; ++i) {
      order += static_cast<char>('0' + rank);
      test_point("step");
    }
  });
  EXPECT_FALSE(simulation.clock_moved());
  return order;
}

TEST(Simulation, FollowsFromItsSeed) {
  std::set<std::string> orders;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    orders.insert(order_of(seed));
    EXPECT_EQ(order_of(seed), order_of(seed));
  }
  // Every third seed chooses evenly, and those differ.
  EXPECT_GE(orders.size(), 10U);
}

TEST(Simulation, WaitsEndAsSoonAsTheyAreOver) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Stacks stacks;
    Simulation simulation(stacks, 2, seed);
    int turn = 0;
    simulation.run([&](std::uint32_t rank) {
      for (int i = 0; i < 10; ++i) {
        const auto mine = [&] { return turn % 2 == static_cast<int>(rank); };
        while (!mine()) simulated_sleep(mine, deadline_clock() + std::chrono::seconds(1));
        ++turn;
      }
    });
    EXPECT_EQ(turn, 20);
    EXPECT_FALSE(simulation.clock_moved());
  }
}

TEST(Simulation, TimePassesOnlyIfNobodyCanRun) {
  Stacks stacks;
  Simulation simulation(stacks, 3, 1);
  const auto began = simulation.now();
  simulation.run([&](std::uint32_t rank) {
    const auto limit = std::chrono::hours(rank + 1);
    simulated_sleep([] { return false; }, deadline_clock() + limit);
    EXPECT_EQ(deadline_clock() - began, limit);
  });
  EXPECT_TRUE(simulation.clock_moved());
}

TEST(Simulation, RanksCatchTheirOwnExceptions) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Stacks stacks;
    Simulation simulation(stacks, 4, seed);
    std::vector<int> caught(4);
    simulation.run([&](std::uint32_t rank) {
      for (int i = 0; i < 5; ++i) {
        try {
          test_point("throw");
          throw static_cast<int>(rank) + 1;
        } catch (int value) {
          test_point("catch");  // others throw and catch meanwhile
          try {
            throw;
          } catch (int again) {
            caught[rank] += again == value ? again : 1000;
          }
        }
      }
    });
    EXPECT_EQ(caught, (std::vector<int>{5, 10, 15, 20}));
  }
}

}  // namespace
}  // namespace cohort::sim
