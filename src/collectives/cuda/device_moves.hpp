#pragma once

// Copies and zeroes within memory of one device.

#include <span>

#include <cohort/local_move.hpp>

#include "backend/cuda/device.hpp"

namespace cohort::cuda {

/// Puts the moves into the stream or graph, as many as fit in each launch.
/// Throws: Error{usage, cuda}.
void move_on_device(const OpenDevice& device, std::span<const LocalMove> moves,
                    StreamHandle stream);

}  // namespace cohort::cuda
