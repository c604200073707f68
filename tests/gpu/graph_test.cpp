// Graphs on real GPUs: what they own when no handle is left, ten thousand replays on memory that
// everything else overwrites, and replays that come too late.

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "backend/cuda/device.hpp"
#include "backend/host/domain.hpp"
#include "contract/graph_contract.hpp"
#include "gpu/devices.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using testing::HasSubstr;

/// Streams of ranks that share a device must not share a queue of it: before CUDA is there.
const bool kQueuesForAll = ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0) == 0;

constexpr std::uint32_t kReplays = 10'000;
constexpr std::size_t kRowElements = 256;
/// Left to the driver and to other processes.
constexpr std::size_t kSpareBytes = std::size_t{4} << 30U;
constexpr std::size_t kPieceBytes = std::size_t{1} << 30U;

/// Takes what the device has left, overwrites it, and gives it back.
void poison_device(std::uint32_t device) {
  ASSERT_EQ(cudaSetDevice(static_cast<int>(device)), cudaSuccess);
  std::size_t free_bytes = 0;
  std::size_t all_bytes = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &all_bytes), cudaSuccess);
  std::vector<void*> pieces;
  for (; free_bytes > kSpareBytes + kPieceBytes; free_bytes -= kPieceBytes) {
    void* piece = nullptr;
    if (cudaMalloc(&piece, kPieceBytes) != cudaSuccess) break;
    pieces.push_back(piece);
    EXPECT_EQ(cudaMemset(piece, 0xFF, kPieceBytes), cudaSuccess);
  }
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  for (void* const piece : pieces) EXPECT_EQ(cudaFree(piece), cudaSuccess);
  static_cast<void>(cudaGetLastError());  // of the piece that was not there
  EXPECT_FALSE(pieces.empty());
}

/// Taking and freeing memory waits for kernels, so that no rank may be in one that waits for
/// another rank.
void poison_all_devices(World& world, std::uint32_t devices) {
  host::Domain& domain = world.domain();
  const auto meet = [&] {
    static_cast<void>(
        domain.all_gather({}, "poison", domain.deadline_after(domain.limits().setup)));
  };
  meet();
  if (world.rank().index() < devices) poison_device(world.rank().index());
  meet();
}

using Body = std::function<std::string(World&, const contract::GraphRun&)>;

/// Every rank finds the devices itself: the process of the test must not have initialised CUDA when
/// it starts others.
std::vector<test::RankResult> run_ranks(RankMode mode, std::uint32_t ranks, const Body& body) {
  return test::run_ranks(mode, ranks, [&](World& world) {
    std::string missing;
    const cuda::Api* const api = cuda::find_devices(1, missing);
    if (api == nullptr) return "skipped: " + missing;
    std::uint32_t count = 0;
    cuda::throw_unless_ok(api->device_count(&count), "counting GPUs");
    if (mode == RankMode::processes && count < world.size()) {
      return std::string("skipped: processes that share a GPU run by turns");
    }
    contract::GraphRun run{.api = api,
                           .device = world.rank().index() % count,
                           .replays = kReplays,
                           .row_elements = kRowElements};
    run.poison_free_memory = [&world, count] { poison_all_devices(world, count); };
    return body(world, run);
  });
}

void expect_done(const std::vector<test::RankResult>& results) {
  test::expect_no_errors(results);
  if (results[0].output.starts_with("skipped")) GTEST_SKIP() << results[0].output;
  for (const test::RankResult& result : results) EXPECT_EQ(result.output, "done");
}

using ModeAndSize = std::tuple<RankMode, std::uint32_t>;
class GpuGraph : public testing::TestWithParam<ModeAndSize> {
 protected:
  RankMode mode() const { return std::get<0>(GetParam()); }
  std::uint32_t ranks() const { return std::get<1>(GetParam()); }
};

TEST_P(GpuGraph, IsReplayedTenThousandTimesOnMemoryOfItsOwn) {
  expect_done(run_ranks(mode(), ranks(), contract::replay_graphs));
}

TEST_P(GpuGraph, GoesOnAfterARecommitThatKeepsItsChannel) {
  expect_done(run_ranks(mode(), ranks(), contract::replay_on_changed_slot));
}

TEST_P(GpuGraph, ThatIsStaleEndsTheJob) {
  const auto results = run_ranks(mode(), ranks(), [](World& world, const contract::GraphRun& run) {
    return contract::replay_stale_graph(world, run,
                                        [](WorldRank rank) { return rank == WorldRank{1}; });
  });
  if (results[0].output.starts_with("skipped")) GTEST_SKIP() << results[0].output;
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error) << result.output;
    EXPECT_EQ(result.error->code(), ErrorCode::usage) << result.error->what();
    EXPECT_THAT(result.error->what(), HasSubstr("rank 1 replayed a graph with reduce_scatter(sum"));
    EXPECT_THAT(result.error->what(), HasSubstr("captured before a recommit replaced"));
  }
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, GpuGraph,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Values(2U, 4U)),
                         [](const testing::TestParamInfo<ModeAndSize>& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  std::to_string(std::get<1>(param.param));
                         });

}  // namespace
}  // namespace cohort
