// The contract of the collectives on real GPUs: ranks as threads and as processes, several on one
// device where there are fewer devices than ranks.

#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "backend/cuda/device.hpp"
#include "contract/collective_contract.hpp"
#include "gpu/devices.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;

/// Streams of ranks that share a device must not share a queue of it: before CUDA is there.
const bool kQueuesForAll = ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0) == 0;

/// NCCL takes plain calls only where it registers no operands of its own accord; on machines of
/// tests NVLink multicast stays off.
const bool kNcclIsTold = ::setenv("NCCL_LOCAL_REGISTER", "0", 0) == 0 &&
                         ::setenv("NCCL_GRAPH_REGISTER", "0", 0) == 0 &&
                         ::setenv("NCCL_NVLS_ENABLE", "0", 0) == 0;

/// Looks at operands through copies; memory outside the arena is the device's too.
class DeviceAccess final : public contract::OperandAccess {
 public:
  DeviceAccess(const cuda::Api& api, std::uint32_t device, Session& session)
      : device_(cuda::OpenDevice::open(api, device)), session_(&session) {
    cuda::throw_unless_ok(api.create_stream(device_->handle(), &stream_.handle), "a stream");
  }
  ~DeviceAccess() override { device_->api().destroy_stream(device_->handle(), stream_.handle); }
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;

  /// Ranks that share a device must not share a stream as well.
  Stream stream() const noexcept { return stream_; }

  std::byte* outside(bool second, std::size_t bytes) override {
    std::optional<Memory>& memory = memory_[second ? 1 : 0];
    if (!memory || memory->bytes < bytes) {
      session_->wait(stream_);  // what is given back may be an operand
      memory.reset();
      memory.emplace(device_, bytes);
    }
    const auto base = static_cast<std::uintptr_t>(memory->range.base());
    return reinterpret_cast<std::byte*>(base);  // NOLINT
  }
  void write(void* to, const void* from, std::size_t bytes) override {
    if (bytes != 0) device_->write(cuda::OpenDevice::host(to), from, bytes);
  }
  void read(void* to, const void* from, std::size_t bytes) override {
    if (bytes != 0) device_->read(to, cuda::OpenDevice::host(from), bytes);
  }
  void finish() override { session_->wait(stream_); }

 private:
  struct Memory {
    Memory(const std::shared_ptr<cuda::OpenDevice>& device, std::size_t wanted)
        : bytes((wanted / device->granule_bytes() + 1) * device->granule_bytes()),
          memory(cuda::DeviceMemory::create(device, bytes)),
          range(device, bytes) {
      range.map(0, bytes, memory, WorldRank{0});
    }
    ~Memory() { range.unmap(0, bytes); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    std::size_t bytes;
    cuda::DeviceMemory memory;
    cuda::DeviceRange range;
  };

  std::shared_ptr<cuda::OpenDevice> device_;
  Session* session_;
  Stream stream_;
  std::array<std::optional<Memory>, 2> memory_;
};

/// Every rank finds the devices itself: the process of the test must not have initialised CUDA when
/// it starts others.
void run_contract(RankMode mode, const LayoutSizes& sizes, PlanOptions options = {}) {
  options.memory = Memory::cuda;
  const Layout layout(sizes);
  const auto results = test::run_ranks(mode, layout.world_size(), [&](World& world) {
    std::string missing;
    const cuda::Api* const api = cuda::find_devices(1, missing);
    if (api == nullptr) return "skipped: " + missing;
    std::uint32_t count = 0;
    cuda::throw_unless_ok(api->device_count(&count), "counting GPUs");
    if (options.nccl != NcclUse::off && count < world.size()) {
      return std::string("skipped: NCCL wants a GPU for each rank");
    }
    if (mode == RankMode::processes && count < world.size()) {
      return std::string("skipped: processes that share a GPU run by turns");
    }
    const std::uint32_t device = world.rank().index() % count;
    Session session = commit(world, contract::collective_plan(layout, options), {.device = device});
    DeviceAccess access(*api, device, session);
    contract::check_collectives(session, world.rank(), 20260101, access, access.stream());
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    EXPECT_EQ(session.measured_bytes(), footprint(session.plan()).planned_bytes(world.rank()));
    session.close();
    return std::string("done");
  });
  test::expect_no_errors(results);
  if (results[0].output.starts_with("skipped")) GTEST_SKIP() << results[0].output;
  for (const test::RankResult& result : results) EXPECT_EQ(result.output, "done");
}

using ModeAndSize = std::tuple<RankMode, std::uint32_t>;
class GpuContract : public testing::TestWithParam<ModeAndSize> {};

TEST_P(GpuContract, Holds) {
  const auto [mode, ranks] = GetParam();
  run_contract(mode, {.tp = ranks});
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, GpuContract,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Values(1U, 2U, 4U)),
                         [](const testing::TestParamInfo<ModeAndSize>& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  std::to_string(std::get<1>(param.param));
                         });

TEST(GpuContractOfGroups, HoldsWhereTheyOverlap) {
  run_contract(RankMode::threads, {.tp = 4, .attn_dp = 2, .attn_cp = 2});
}

class GpuContractOfPaths : public testing::TestWithParam<Path> {};

TEST_P(GpuContractOfPaths, Holds) {
  run_contract(RankMode::threads, {.tp = 3}, {.path_table = PathTable::pinned(GetParam())});
}

INSTANTIATE_TEST_SUITE_P(Paths, GpuContractOfPaths,
                         testing::Values(Path::gpu_ll, Path::gpu_lamport, Path::gpu_two_shot),
                         [](const auto& path) { return std::string(to_string(path.param)); });

// Sums of floats stay ours: NCCL's have other bits, which the contract does not take.
using ModeAndPath = std::tuple<RankMode, Path>;
class GpuContractOnNccl : public testing::TestWithParam<ModeAndPath> {};

TEST_P(GpuContractOnNccl, Holds) {
  const auto [mode, path] = GetParam();
  run_contract(mode, {.tp = 2}, {.path_table = PathTable::pinned(path), .nccl = NcclUse::gathers});
}

INSTANTIATE_TEST_SUITE_P(Paths, GpuContractOnNccl,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Values(Path::nccl_symmetric, Path::nccl_plain)),
                         [](const testing::TestParamInfo<ModeAndPath>& param) {
                           return test::to_string(std::get<0>(param.param)) + "_" +
                                  std::string(to_string(std::get<1>(param.param)));
                         });

}  // namespace
}  // namespace cohort
