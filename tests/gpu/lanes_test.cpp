// Large calls of both lanes at once, which the ranks begin in opposite order: kernels of one lane
// must find room on a device that is full of the other's, as theirs wait for them elsewhere.

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "gpu/rank_gpu.hpp"

namespace cohort {
namespace {

using test::RankGpu;
using test::RankMode;

constexpr std::size_t kLanes = 2;
constexpr std::size_t kElements = std::size_t{4}
                                  << 20;  // of f32: 16 MiB, more than is held at once
constexpr int kRounds = 20;
constexpr int kCallsOfRound = 4;  // one behind the other, so that the next may be brought early

Plan plan_of(std::uint32_t ranks) {
  Plan plan(Layout{{.tp = ranks}}, {.lanes = kLanes, .memory = Memory::cuda});
  for (const char* name : {"input", "output"}) {
    static_cast<void>(plan.slot(
        name,
        {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 1, .depth = kLanes}));
  }
  return plan;
}

void overlap(World& world, const cuda::Api& api) {
  RankGpu gpu(api, world.rank(), kLanes);
  Session session = commit(world, plan_of(world.size()), gpu.commit_options());
  std::array<Tensor, kLanes> inputs;
  std::array<Tensor, kLanes> outputs;
  std::vector<Buffer> held;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    inputs.at(lane) = held.emplace_back(session.take(SlotId{0})).elements(kElements);
    outputs.at(lane) = held.emplace_back(session.take(SlotId{1})).elements(kElements);
    const auto value = static_cast<float>(world.rank().index() + 10 * lane);
    gpu.write_all(inputs.at(lane), std::vector<float>(kElements, value));
  }
  const std::size_t first = world.rank().index() % kLanes;
  for (int round = 0; round < kRounds; ++round) {
    for (const std::size_t lane : {first, 1 - first}) {
      const Group tp = session.group(GroupKind::tp).on(gpu.stream(lane));
      for (int call = 0; call < kCallsOfRound; ++call) {
        static_cast<void>(tp.all_reduce(inputs.at(lane), outputs.at(lane), ReduceOp::sum,
                                        Lane{static_cast<std::uint8_t>(lane)}));
      }
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) session.wait(gpu.stream(lane));
  }
  float ranks = 0;
  for (std::uint32_t rank = 0; rank < world.size(); ++rank) ranks += static_cast<float>(rank);
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const auto wanted = ranks + static_cast<float>(10 * lane * world.size());
    const std::vector<float> got = gpu.read_all<float>(outputs.at(lane));
    EXPECT_EQ(std::ranges::count(got, wanted), static_cast<std::ptrdiff_t>(kElements))
        << "lane " << lane;
  }
  session.close();
}

class GpuLanes : public testing::TestWithParam<std::pair<RankMode, std::uint32_t>> {};

TEST_P(GpuLanes, BeginLargeCallsInAnyOrder) {
  const auto [mode, ranks] = GetParam();
  test::run_gpu_ranks(mode, ranks, overlap);
}

INSTANTIATE_TEST_SUITE_P(All, GpuLanes,
                         testing::Values(std::pair{RankMode::threads, 2U},
                                         std::pair{RankMode::threads, 4U},
                                         std::pair{RankMode::processes, 2U}),
                         [](const auto& entry) {
                           return test::to_string(entry.param.first) +
                                  std::to_string(entry.param.second);
                         });

}  // namespace
}  // namespace cohort
