#pragma once

#include <cstdint>

namespace cohort {

/// Counts that lie in memory of the device when a call runs, so that kernels may have made them and
/// replays of a graph find new ones: 64-bit words, aligned, one for each member in group order
/// (all_to_allv: row by row, from member i to member j), in elements. Equal on all members, or the
/// job ends with Error{mismatch}; a count beyond what the operands are planned for ends it with
/// Error{usage}.
struct DeviceCounts {
  const std::uint64_t* data = nullptr;
};

}  // namespace cohort
