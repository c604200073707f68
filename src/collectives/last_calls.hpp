#pragma once

// The text that tells which calls a rank made last, whatever memory they are read from.

#include <functional>
#include <span>
#include <string>

#include <cohort/layout.hpp>

#include "heap/arena_layout.hpp"

namespace cohort::collectives {

/// How often a reader looks for a call whose words it can read whole. A rank that is late makes few
/// calls; one that makes them as fast as they can be read is told of without its words.
inline constexpr int kLooks = 16;

/// What a rank last did on one lane of its group of these ranks: "call 7 barrier", "none".
using ReadLane =
    std::function<std::string(const heap::ChannelRegion& lane, std::span<const WorldRank> ranks)>;

/// "last calls of rank 3: tp [0, 1, 2, 3] lane 0 call 7 barrier, lane 1 none; attn_tp [2, 3] lane 0
/// none": of every lane of every group of several members that `rank` is in, as `read` tells it;
/// empty if it is in none. `channels` are the plan's. Local.
std::string describe_last_calls(WorldRank rank, const Layout& groups,
                                std::span<const heap::ChannelRegion> channels,
                                const ReadLane& read);

}  // namespace cohort::collectives
