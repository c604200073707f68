#pragma once

// A kernel that occupies a whole device until it is told to end.

#include <cstdint>
#include <string>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// Starts as many blocks as the device holds at once; each polls `word` until it is not 0, or until
/// `seconds` are over. The first of them then stores 1 (told to) or 2 (time is over) into `ended`,
/// which is host memory that the device can write. Returns nothing, or what failed.
std::string start_spinning(std::uint32_t device, StreamHandle stream, Address word, Address ended,
                           std::uint32_t seconds);

}  // namespace cohort::cuda
