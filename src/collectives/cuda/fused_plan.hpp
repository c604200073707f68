#pragma once

// Whether a sum and the norm behind it are one kernel: pure, of what all members know.

#include <cstdint>
#include <optional>

#include <cohort/verdict.hpp>

#include "backend/cuda/abi.hpp"
#include "collectives/cuda/launch_plan.hpp"

namespace cohort::cuda {

/// Blocks that push a row together.
inline constexpr std::uint32_t kFusedBlocksPerRow = 1;

/// The one launch of a sum whose rows of `hidden` elements are normed. Nothing where it does not
/// fit, and where the calls one after the other are faster: the bits are the same. `call` stands
/// for the whole operation.
std::optional<KernelCall> plan_fused(const KernelCall& call, Path path, std::uint32_t hidden,
                                     const GridLimits& limits) noexcept;

}  // namespace cohort::cuda
