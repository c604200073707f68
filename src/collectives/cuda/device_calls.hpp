#pragma once

// What a rank last called on each lane of its groups in GPU memory, read from its notes while it
// may go on.

#include <span>
#include <string>

#include <cohort/layout.hpp>

#include "backend/backend.hpp"
#include "heap/arena_layout.hpp"

namespace cohort::cuda {

/// "last calls of rank 3: tp [0, 1, 2, 3] lane 0 call 7 all_gather(f32, 64 bytes, gpu_ll), lane 1
/// none; attn_tp [2, 3] lane 0 call 2 barrier, refused": of every lane of every group of several
/// members that `rank` is in; `channels` are the plan's. Counts what the rank called itself, not
/// replays of its graphs. Local, never waits.
std::string last_calls_of(WorldRank rank, const Layout& groups,
                          std::span<const heap::ChannelRegion> channels, const Arena& host_words);

}  // namespace cohort::cuda
