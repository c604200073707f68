#pragma once

// Copies between buffers of one device, many in one launch.

#include <cstdint>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// Loads the kernel onto the current device.
Status load_copy_kernel();

/// See Api::copy_pieces; the current device is that of the stream.
Status launch_copies(const CopyPiece* pieces, std::uint32_t count, StreamHandle stream);

}  // namespace cohort::cuda
