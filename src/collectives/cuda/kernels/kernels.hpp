#pragma once

// The kernels of the plugin, as its table offers them.

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// Loads every kernel onto the current device, so that none is loaded lazily later.
Status load_kernels();

/// Puts a call into its stream; the current device is that of the stream. `usage` if the call does
/// not fit its channel or its grid does not cover the operands.
Status launch(const KernelCall& call);

}  // namespace cohort::cuda
