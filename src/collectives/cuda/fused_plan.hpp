#pragma once

// Whether a sum and the norm behind it are one kernel: pure, of what all members know.

#include <cstdint>
#include <optional>

#include <cohort/verdict.hpp>

#include "backend/cuda/abi.hpp"
#include "collectives/cuda/launch_plan.hpp"

namespace cohort::cuda {

struct FusedPlan {
  KernelCall call;
  std::uint32_t blocks_per_row;  ///< FusedCall::blocks_per_row
};

/// The one launch of a sum whose rows of `hidden` elements are normed. Nothing where it does not
/// fit, and where the calls one after the other are faster: the bits are the same. `call` stands
/// for the whole operation.
std::optional<FusedPlan> plan_fused(const KernelCall& call, Path path, std::uint32_t hidden,
                                    const GridLimits& limits) noexcept;

/// Blocks that take each of `rows` rows together. Local.
std::uint32_t fused_blocks_per_row(std::uint32_t members, std::uint64_t rows) noexcept;

}  // namespace cohort::cuda
