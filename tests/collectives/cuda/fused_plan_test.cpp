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

TEST(FusedPlan, HasATeamForEachRowWhileTheyFit) {
  const auto fused = plan_fused(all_reduce(36, 7168), Path::gpu_lamport, 7168, kLimits);
  ASSERT_TRUE(fused);
  EXPECT_EQ(fused->blocks_per_row, 4U);
  EXPECT_EQ(fused->call.blocks, 36U * 4);
  EXPECT_EQ(fused->call.threads, norm_shape(7168).threads);
  EXPECT_EQ(fused->call.lines_per_thread, norm_shape(7168).lines_per_thread);
  EXPECT_EQ(fused->call.protocol, Protocol::sentinel);
  EXPECT_EQ(plan_fused(all_reduce(0, 7168), Path::gpu_ll, 7168, kLimits)->call.blocks, 4U);
  const GridLimits narrow{2048};
  // 14 warps a row are 4 for each of 4 blocks, so 512 threads, of more registers than 64.
  EXPECT_EQ(plan_fused(all_reduce(36, 7168), Path::gpu_lamport, 7168, narrow)->call.blocks, 2U * 4);
}

TEST(FusedPlan, HasFewerBlocksARowWhereRowsAreMany) {
  EXPECT_EQ(fused_blocks_per_row(2, 0), 4U);
  EXPECT_EQ(fused_blocks_per_row(2, 256), 4U);
  EXPECT_EQ(fused_blocks_per_row(2, 257), 2U);
  EXPECT_EQ(fused_blocks_per_row(2, 512), 2U);
  EXPECT_EQ(fused_blocks_per_row(2, 513), 1U);
  EXPECT_EQ(fused_blocks_per_row(2, 100'000), 1U);
  EXPECT_EQ(fused_blocks_per_row(3, 1), 1U);
  for (const std::uint32_t hidden : {8U, 1024U, 2048U, 7168U, 16384U}) {
    for (std::uint64_t rows = 1; rows * hidden * 2 <= std::uint64_t{4} << 20;
         rows += rows / 4 + 1) {
      const auto fused = plan_fused(all_reduce(rows, hidden), Path::gpu_lamport, hidden, kLimits);
      ASSERT_TRUE(fused) << rows << " rows of " << hidden;
      EXPECT_EQ(fused->call.blocks % fused->blocks_per_row, 0U);
      EXPECT_LE(fused->call.blocks, kBlocksMax);
      const std::uint32_t of_block = (norm_shape(hidden).threads / 32 + fused->blocks_per_row - 1) /
                                     fused->blocks_per_row * 32;
      EXPECT_LE(fused->call.blocks * of_block, kLimits.resident_threads);
    }
  }
}

/// Blocks that fit together on a device with 132 multiprocessors.
std::uint32_t capacity(std::uint32_t block_threads, std::uint32_t registers) {
  return 132 * (65536 / registers / block_threads);
}

TEST(FusedPlan, LeavesRoomForRanksThatShareADevice) {
  for (const std::uint32_t members : {2U, 3U, 8U}) {
    for (const std::uint32_t sharers : {2U, 3U}) {
      const GridLimits shared{132 * 2048 / (sharers * 2)};
      for (std::uint32_t hidden = 1024; hidden <= 16384; hidden += 512) {
        for (const std::uint64_t rows : {1U, 100U, 256U, 257U, 600U}) {
          const auto fused =
              plan_fused(all_reduce(rows, hidden, members), Path::gpu_lamport, hidden, shared);
          if (!fused) continue;
          const NormShape shape = norm_shape(hidden);
          const std::uint32_t of_row = fused->blocks_per_row;
          const std::uint32_t threads = (shape.threads / 32 + of_row - 1) / of_row * 32;
          const std::uint32_t registers = members == 2 && shape.lines_per_thread == 1 ? 64 : 128;
          EXPECT_LE(sharers * fused->call.blocks, capacity(threads, registers))
              << members << " members, " << rows << " rows of " << hidden;
        }
      }
    }
  }
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
    EXPECT_EQ(fused->call.blocks, 5U);
  }
}

}  // namespace
}  // namespace cohort::cuda
