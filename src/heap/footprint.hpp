#pragma once

// The footprint of a layout: what `footprint(plan)` and a session's own both are.

#include <string_view>

#include <cohort/plan.hpp>

#include "heap/arena_layout.hpp"

namespace cohort::heap {

/// "own", "pool", ...
std::string_view kind_name(FootprintRow::Kind kind) noexcept;

Footprint footprint_of(const Plan& plan, const ArenaLayout& layout);

}  // namespace cohort::heap
