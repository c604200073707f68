#pragma once

// Steps that commit and recommit share: all ranks agree, or all get the same error.

#include <string_view>

#include <cohort/plan.hpp>

#include "backend/host/domain.hpp"
#include "base/function_ref.hpp"

namespace cohort {

/// Collective over the domain. Throws: Error{mismatch} with the first differing entry and who has
/// what.
void agree_on_plan(host::Domain& domain, const Plan& plan, std::string_view phase,
                   host::Domain::TimePoint deadline);

/// Runs a local step, then tells everybody how it went: one failure is every rank's error, of the
/// lowest rank that failed. Collective over the domain.
void run_agreed(host::Domain& domain, std::string_view phase, host::Domain::TimePoint deadline,
                FunctionRef<void()> step);

/// Known from the plan alone, so every rank throws it, and before anything is allocated.
/// Throws: Error{strict_miss}.
void refuse_what_strict_forbids(const Plan& plan);

}  // namespace cohort
