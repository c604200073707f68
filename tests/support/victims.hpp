#pragma once

// Ranks that are to die: what `run_ranks` takes for a failure of the test is wanted here.

#include "support/ranks.hpp"

namespace cohort::test {

/// As `run_ranks` with processes, but that `victim` may end as it likes: killed by a signal, for
/// instance. Its result then is an Error{peer_failed} that says how it ended. The others have a
/// minute to end by themselves.
std::vector<RankResult> run_ranks_with_victim(std::uint32_t rank_count, WorldRank victim,
                                              const RankBody& body, const WaitLimits& limits);

}  // namespace cohort::test
