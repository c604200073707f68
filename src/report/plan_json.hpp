#pragma once

// A plan as JSON: of `cohort plan --json` and of reports.

#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include <cohort/plan.hpp>

namespace cohort {

/// Each slot with its place. Local, pure; as the other two.
nlohmann::ordered_json slots_json(const Plan& plan);

nlohmann::ordered_json pools_json(const Plan& plan);

/// The rows of a footprint and its sums; `planned_bytes` by rank.
nlohmann::ordered_json footprint_json(const Footprint& planned, std::uint32_t rank_count);

}  // namespace cohort
