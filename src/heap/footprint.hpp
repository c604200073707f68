#pragma once

// The footprint of a layout: what `footprint(plan)` and a session's own both are.

#include <cohort/plan.hpp>

#include "heap/arena_layout.hpp"

namespace cohort::heap {

Footprint footprint_of(const Plan& plan, const ArenaLayout& layout);

}  // namespace cohort::heap
