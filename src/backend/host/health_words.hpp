#pragma once

// What a rank says about itself in the control segment, for health and for ranks that wait for it.
// Each word stands alone: a reader may see one of them before its neighbour.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <cohort/layout.hpp>

namespace cohort::host {

/// Lanes of a group that a rank can tell of: as many as a plan may have.
inline constexpr std::uint32_t kLanesTold = 64;

/// Written by its rank alone.
struct HealthWords {
  /// 1 while the wait that the rank is in has gone past the stall limit.
  alignas(64) std::atomic<std::uint32_t> stalled{0};
  /// World rank + 1 that the last stalled wait was for; 0 is none.
  std::atomic<std::uint32_t> last_stalled_on{0};
  std::atomic<std::uint64_t> stalls{0};
  /// Of the stalled waits that have ended.
  std::atomic<std::uint64_t> stalled_ns{0};
  /// How many marks of outside work the rank holds, and since when (steady clock) any.
  std::atomic<std::uint32_t> idle_marks{0};
  /// The newest generation that the rank knows to be committed.
  std::atomic<std::uint32_t> generation{0};
  std::atomic<std::uint64_t> idle_since_ns{0};
  /// Calls begun on each lane of each kind of group; see `Domain::call_word`. A line of its own:
  /// every call writes here.
  alignas(64) std::array<std::atomic<std::uint64_t>, kGroupKindCount * kLanesTold> calls{};
};

}  // namespace cohort::host
