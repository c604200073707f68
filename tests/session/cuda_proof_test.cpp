// What commit and recommit prove of GPU memory, over a fake on which memory overlaps.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "session/device_api.hpp"
#include "support/fake_cuda.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using testing::HasSubstr;

/// Of a size that no word divides.
constexpr std::size_t kBytes = 100'003;
constexpr std::uint64_t kNowhere = ~std::uint64_t{0};

/// What goes wrong on device 1; set before ranks start or while all of them are at rest.
struct Plant {
  std::atomic<std::uint64_t> byte = kNowhere;  ///< of a broadcast's output, which changes
  std::atomic<bool> overlaps = false;          ///< each pattern begins within the one before
};

Plant& plant() {
  static Plant planted;
  return planted;
}

std::byte* pointer(cuda::Address address) {
  return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(address));  // NOLINT
}

cuda::Status launch(cuda::Device* device, const cuda::KernelCall* call) {
  const cuda::Status status = test::fake_cuda_api().launch(device, call);
  const std::uint64_t byte = plant().byte.load();
  if (device->index == 1 && call->op == Op::broadcast && byte != kNowhere) {
    *pointer(call->output + byte) ^= std::byte{1};
  }
  return status;
}

cuda::Status stamp(cuda::Device* device, cuda::Address address, std::size_t bytes,
                   std::uint64_t stamp) {
  thread_local cuda::Address end = 0;
  if (!plant().overlaps.load()) end = 0;
  if (device->index == 1 && end != 0) address = end - 8;
  if (plant().overlaps.load()) end = address + bytes;
  return test::fake_cuda_api().stamp(device, address, bytes, stamp);
}

class CudaProof : public testing::Test {
 protected:
  CudaProof() {
    static const cuda::Api api = [] {
      cuda::Api table = test::fake_cuda_api();
      table.launch = launch;
      table.stamp = stamp;
      return table;
    }();
    set_device_api(&api);
  }
  ~CudaProof() override {
    set_device_api(&test::fake_cuda_api());
    plant().byte = kNowhere;
    plant().overlaps = false;
  }
  CudaProof(const CudaProof&) = delete;
  CudaProof& operator=(const CudaProof&) = delete;

  static void expect_all(const std::vector<test::RankResult>& results, const std::string& text) {
    for (const auto& result : results) {
      ASSERT_TRUE(result.error) << text;
      EXPECT_THAT(result.error->what(), HasSubstr(text));
    }
  }
};

Plan plan_of(std::uint32_t slots, std::size_t pool_bytes = 0) {
  Plan plan(Layout{{.tp = 2}}, {.memory = Memory::cuda});
  for (std::uint32_t i = 0; i < slots; ++i) {
    static_cast<void>(plan.slot("slot" + std::to_string(i), {.groups = {GroupKind::tp},
                                                             .dtype = DType::u8,
                                                             .rows_max = kBytes + i,
                                                             .row_elements = 1}));
  }
  if (pool_bytes > 0) {
    static_cast<void>(plan.pool(
        "pool", {.groups = {GroupKind::tp}, .bytes = pool_bytes, .block_bytes_max = 4096}));
  }
  return plan;
}

std::vector<test::RankResult> committed(const Plan& plan) {
  return test::run_ranks(RankMode::threads, 2, [&](World& world) {
    commit(world, plan).close();
    return std::string();
  });
}

TEST_F(CudaProof, FindsAByteThatChangesWhereverItIs) {
  test::expect_no_errors(committed(plan_of(1)));
  for (const std::size_t at : {std::size_t{0}, kBytes / 2, kBytes - 1}) {
    plant().byte = at;
    expect_all(committed(plan_of(1)), "slot 'slot0' entry 0 does not show what rank 0 wrote");
  }
  plant().byte = kBytes;  // padding
  test::expect_no_errors(committed(plan_of(1)));
}

TEST_F(CudaProof, CoversPoolsAsWell) {
  constexpr std::size_t kPoolBytes = 1 << 18;
  Plan plan(Layout{{.tp = 2}}, {.memory = Memory::cuda});
  static_cast<void>(
      plan.pool("pool", {.groups = {GroupKind::tp}, .bytes = kPoolBytes, .block_bytes_max = 4096}));
  test::expect_no_errors(committed(plan));
  plant().byte = 0;
  expect_all(committed(plan), "pool 'pool' does not show what rank");
}

void meet(Session& session) {
  static_cast<void>(session.group(GroupKind::tp).barrier());
  session.wait({});
}

TEST_F(CudaProof, OfARecommitFindsOverlaps) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Session session = commit(world, plan_of(1));
    meet(session);
    plant().overlaps = true;
    std::string text;
    try {
      session.recommit(plan_of(3, 1 << 16));
    } catch (const Error& error) {
      text = error.what();
    }
    EXPECT_THAT(text, HasSubstr("does not show what rank 1 wrote into it"));
    meet(session);
    plant().overlaps = false;
    session.recommit(plan_of(3, 1 << 16));
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

}  // namespace
}  // namespace cohort
