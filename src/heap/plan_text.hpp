#pragma once

// A plan as lines of text: what ranks compare at commit, and what a person reads when they differ.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <cohort/plan.hpp>

namespace cohort::heap {

/// One line per fact that all ranks must share: layout, options, each slot and each pool.
std::vector<std::string> plan_lines(const Plan& plan);

/// 128 bits over `plan_lines`.
std::array<std::uint64_t, 2> plan_digest(const Plan& plan);

/// Plans of all ranks (by rank), at least two of them different: the first differing entry and who
/// has what, in one line.
std::string describe_difference(const std::vector<std::vector<std::string>>& lines_by_rank);

}  // namespace cohort::heap
