#include "collectives/cuda/fused_plan.hpp"

#include <algorithm>

#include "collectives/cuda/kernels/extents.hpp"
#include "collectives/cuda/norm_shape.hpp"

namespace cohort::cuda {

namespace {

/// Beyond it the kernel for large operands, which pushes and takes at the same time, gains more
/// than a second kernel costs.
constexpr std::uint64_t kFusedBytesMax = std::uint64_t{4} << 20;

}  // namespace

std::optional<KernelCall> plan_fused(const KernelCall& call, Path path, std::uint32_t hidden,
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
  const std::uint32_t blocks_max = std::min(limits.resident_threads / shape.threads, kBlocksMax);
  if (blocks_max == 0) return std::nullopt;
  const std::uint64_t row_bytes = std::uint64_t{hidden} * bytes_of(call.dtype);
  fused.threads = shape.threads;
  fused.lines_per_thread = shape.lines_per_thread;
  fused.blocks =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(bytes / row_bytes, 1, blocks_max));
  return fused;
}

}  // namespace cohort::cuda
