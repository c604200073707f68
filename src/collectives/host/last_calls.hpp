#pragma once

// What a rank last called on each lane, read from its arena while it may go on.

#include <string>

#include <cohort/layout.hpp>

#include "backend/backend.hpp"
#include "heap/arena_layout.hpp"

namespace cohort::host {

/// "last calls of rank 3: tp [0, 1, 2, 3] lane 0 call 7 barrier, lane 1 none; attn_tp [2, 3] lane 0
/// call 2 all_gather(f32, 64 bytes, host_inline), refused": of every lane of every group of several
/// members that `rank` is in, and its last message to and from `reader`. Local, never waits.
std::string last_calls_of(WorldRank rank, WorldRank reader, const Layout& groups,
                          const heap::ArenaLayout& layout, const Arena& arena);

}  // namespace cohort::host
