#pragma once

// Whose GPUs a session uses.

#include "backend/cuda/abi.hpp"

namespace cohort {

/// The plugin's table, or the one set last. Throws: Error{unsupported} saying what is missing.
const cuda::Api& device_api();

/// From now on sessions of this process are made over `api`; null goes back to the plugin. It must
/// live as long as they do. For tests, before ranks start.
void set_device_api(const cuda::Api* api) noexcept;

}  // namespace cohort
