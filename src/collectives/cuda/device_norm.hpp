#pragma once

// Norms of rows in memory of one device.

#include <optional>
#include <string>

#include <cohort/rms_norm.hpp>

#include "backend/cuda/device.hpp"

namespace cohort::cuda {

/// What the kernels cannot do, of a norm that makes sense: rows, types, alignment, results over the
/// input. Nothing if they can. Pure.
std::optional<std::string> find_device_fault(const RmsNorm& norm, ConstTensor input);

/// As the plugin takes it.
Norm device_norm(const RmsNorm& norm) noexcept;

/// Puts the norm of `input` into the stream. Requires: neither check finds a fault.
void norm_on_device(const OpenDevice& device, const RmsNorm& norm, const void* input,
                    StreamHandle stream);

}  // namespace cohort::cuda
