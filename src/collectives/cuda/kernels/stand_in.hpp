#pragma once

// The kernel of a member that has no operands for a call that others have launched.

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

Status load_stand_in_kernel();

/// Requires: KernelCall::stands_in.
Status launch_stand_in(const KernelCall& call);

}  // namespace cohort::cuda
