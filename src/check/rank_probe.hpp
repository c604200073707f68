#pragma once

#include <cstdint>

#include <cohort/world.hpp>

#include "base/function_ref.hpp"
#include "check/rank_report.hpp"
#include "check/row.hpp"

namespace cohort::check {

/// What one rank finds out together with the others: whether it can reserve all arenas' addresses,
/// whether every rank's memory can be passed, mapped, written and read, and how long a word takes
/// from rank 0 to the others and back. Completes `report` piece by piece and publishes each.
/// Collective over `world`. Nothing stays behind.
/// Throws: Error as any exchange of the world; Error{mismatch} if what a rank wrote into another's
/// memory is not there.
void probe_ranks(World& world, const Wanted& wanted, RankReport& report,
                 FunctionRef<void(const RankReport&)> publish);

}  // namespace cohort::check
