#include "collectives/cuda/fused_plan.hpp"

#include <algorithm>

#include "collectives/cuda/kernels/extents.hpp"
#include "collectives/cuda/norm_shape.hpp"

namespace cohort::cuda {

namespace {

/// Beyond it the kernel for large operands, which pushes and takes at the same time, gains more
/// than a second kernel costs.
constexpr std::uint64_t kFusedBytesMax = std::uint64_t{4} << 20;
/// As measured on two H200, rows of 2048 to 7168: at most 3 % behind the best, also of 146 rows. A
/// block that takes rows in turn costs more than blocks that are fewer to a row.
constexpr std::uint32_t kBlocksPerRowMost = 4;
/// Of a multiprocessor, in threads that have 64 registers: GridLimits counts so where ranks share a
/// device.
constexpr std::uint32_t kThreadsOfMultiprocessor = 1024;

/// Threads of 64 registers that a block takes the room of: what is left over where no further block
/// fits belongs to it.
std::uint32_t room_of_block(std::uint32_t threads, bool has_many_registers) noexcept {
  const std::uint32_t taken = has_many_registers ? 2 * threads : threads;
  const std::uint32_t blocks = std::max(kThreadsOfMultiprocessor / taken, 1U);
  return (kThreadsOfMultiprocessor + blocks - 1) / blocks;
}

}  // namespace

std::uint32_t fused_blocks_per_row(std::uint32_t members, std::uint64_t rows) noexcept {
  if (members != 2) return 1;
  std::uint32_t blocks = kBlocksPerRowMost;
  while (blocks > 1 && rows * blocks > kBlocksMax) blocks /= 2;
  return blocks;
}

std::optional<FusedPlan> plan_fused(const KernelCall& call, Path path, std::uint32_t hidden,
                                    const GridLimits& limits) noexcept {
  const std::uint64_t bytes = largest_part_bytes(call);
  if (path == Path::gpu_two_shot || bytes > kFusedBytesMax) return std::nullopt;
  KernelCall fused = call;
  fused.algorithm = Algorithm::once;
  fused.protocol = Protocol::sentinel;
  fused.output = 0;
  if (most_scratch_lines(fused) * kLineBytes > call.map.data_bytes) return std::nullopt;
  const NormShape shape = norm_shape(hidden);
  // Each peer's header has a thread of its own.
  if (shape.threads + 1 < call.members.count) return std::nullopt;
  const std::uint64_t rows = bytes / (std::uint64_t{hidden} * bytes_of(call.dtype));
  const std::uint32_t blocks_per_row = fused_blocks_per_row(call.members.count, rows);
  const std::uint32_t warps = (shape.threads / 32 + blocks_per_row - 1) / blocks_per_row;
  // Up to 128, but for short rows of two members.
  const bool has_many_registers = call.members.count > 2 || shape.lines_per_thread > 1;
  const std::uint32_t room = room_of_block(warps * 32, has_many_registers) * blocks_per_row;
  std::uint32_t rows_max = std::min(limits.resident_threads / room, kBlocksMax / blocks_per_row);
  // The blocks of a cluster lie in one part of the device, whose last ones may fit none.
  if (blocks_per_row > 1) rows_max -= rows_max / 16;
  if (rows_max == 0) return std::nullopt;
  fused.threads = shape.threads;
  fused.lines_per_thread = shape.lines_per_thread;
  fused.blocks =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(rows, 1, rows_max)) * blocks_per_row;
  return FusedPlan{fused, blocks_per_row};
}

}  // namespace cohort::cuda
