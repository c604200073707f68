#pragma once

// Ordinary memory of a device, for what a pool has no room for: from the CUDA driver, which is
// loaded on demand and never linked. In the context that is current on this thread, PyTorch's.

#include <cstddef>
#include <string>

namespace cohort::torch {

/// Null, and why in `error`, if there is none. May be called while a stream is captured.
void* allocate_on_device(std::size_t bytes, std::string& error);
/// Waits for the device, as the driver does.
void free_on_device(void* data) noexcept;

}  // namespace cohort::torch
