#include "collectives/cuda/fused_plan.hpp"

#include <gtest/gtest.h>

#include "collectives/cuda/norm_shape.hpp"

namespace cohort::cuda {
namespace {

constexpr GridLimits kLimits{132 * 2048};

KernelCall all_reduce(std::uint64_t rows, std::uint32_t hidden, std::uint32_t members = 2) {
  KernelCall call{};
  call.op = Op::all_reduce;
  call.dtype = DType::bf16;
  call.members.count = members;
  call.bytes = rows * hidden * 2;
  call.map.data_bytes = std::uint64_t{64} << 20;
  return call;
}

TEST(FusedPlan, HasABlockForEachRowWhileTheyFit) {
  const auto fused = plan_fused(all_reduce(36, 7168), Path::gpu_lamport, 7168, kLimits);
  ASSERT_TRUE(fused);
  EXPECT_EQ(fused->blocks, 36U);
  EXPECT_EQ(fused->threads, norm_shape(7168).threads);
  EXPECT_EQ(fused->lines_per_thread, norm_shape(7168).lines_per_thread);
  EXPECT_EQ(fused->protocol, Protocol::sentinel);
  EXPECT_EQ(plan_fused(all_reduce(0, 7168), Path::gpu_ll, 7168, kLimits)->blocks, 1U);
  const GridLimits narrow{2048};
  EXPECT_EQ(plan_fused(all_reduce(36, 7168), Path::gpu_lamport, 7168, narrow)->blocks,
            2048U / norm_shape(7168).threads);
}

TEST(FusedPlan, LeavesTheRestToTwoKernels) {
  const auto is_fused = [](const KernelCall& call, std::uint32_t hidden, Path path,
                           const GridLimits& limits = kLimits) {
    return plan_fused(call, path, hidden, limits).has_value();
  };
  EXPECT_TRUE(is_fused(all_reduce(8, 1024), 1024, Path::gpu_lamport));
  EXPECT_FALSE(is_fused(all_reduce(8, 1024), 1024, Path::gpu_two_shot));
  EXPECT_FALSE(is_fused(all_reduce(4096, 1024), 1024, Path::gpu_lamport));  // 8 MiB
  KernelCall crowded = all_reduce(64, 1024, 8);
  crowded.map.data_bytes = 64 * 2048;
  EXPECT_FALSE(is_fused(crowded, 1024, Path::gpu_lamport));
  EXPECT_FALSE(is_fused(all_reduce(8, 7168), 7168, Path::gpu_lamport, {256}));
}

TEST(FusedPlan, IsTheSameOnAllMembers) {
  const std::uint64_t counts[] = {2 * 1024 * 2, 0, 5 * 1024 * 2};
  for (std::uint32_t self = 0; self < 3; ++self) {
    KernelCall call = all_reduce(0, 1024, 3);
    call.op = Op::reduce_scatterv;
    call.bytes = 0;
    call.counts = counts;
    call.members.self = self;
    const auto fused = plan_fused(call, Path::gpu_lamport, 1024, kLimits);
    ASSERT_TRUE(fused);
    EXPECT_EQ(fused->blocks, 5U);
  }
}

}  // namespace
}  // namespace cohort::cuda
