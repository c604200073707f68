#pragma once

#include <cstdint>

namespace cohort {

/// One entry of a model's vocabulary.
using TokenId = std::uint32_t;

}  // namespace cohort
