#pragma once

// Whose GPUs a session uses.

#include "backend/cuda/abi.hpp"
#include "backend/cuda/nccl/abi.hpp"

namespace cohort {

/// The plugin's table, or the one set last. Throws: Error{unsupported} saying what is missing.
const cuda::Api& device_api();

/// The plugin's table of NCCL, or the one set last; null where there is none.
const cuda::nccl::Api* nccl_api();

/// From now on sessions of this process are made over `api` and `nccl`; null goes back to the
/// plugin. They must live as long as the sessions do. For tests, before ranks start.
void set_device_api(const cuda::Api* api, const cuda::nccl::Api* nccl = nullptr) noexcept;

}  // namespace cohort
