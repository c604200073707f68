#pragma once

// The timelines of all ranks as one, in seconds since the first call: for reports and traces.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "collectives/timeline.hpp"

namespace cohort {

/// One call of one rank. The waits lie anywhere in the call; only their sum is known.
struct TimedCall {
  double begin_s = 0;  ///< since the first call that any rank recorded
  double total_s = 0;
  double wait_s = 0;  ///< of the total; the rest is moving and reducing
  collectives::RecordedCall call;
};

/// What one rank recorded, in the order in which its calls ended.
struct RankTimeline {
  std::vector<TimedCall> calls;
  std::uint64_t dropped = 0;  ///< calls that came later and are only counted
};

/// One rank's timeline as bytes for the other ranks. Local.
std::vector<std::byte> encode_timeline(const collectives::Timeline& timeline);

/// The timelines of ranks of one machine, by rank, on one clock: the first rank's says how long a
/// tick takes. Local. Throws: Error{corrupt} for bytes that no `encode_timeline` wrote.
std::vector<RankTimeline> align_timelines(std::span<const std::vector<std::byte>> encoded);

}  // namespace cohort
