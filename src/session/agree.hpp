#pragma once

// Steps that commit and recommit share: all ranks agree, or all get the same error.

#include <new>
#include <string>
#include <string_view>

#include <cohort/plan.hpp>

#include "backend/host/domain.hpp"
#include "base/function_ref.hpp"

namespace cohort {

/// Collective over the domain. Throws: Error{mismatch} with the first differing entry and who has
/// what.
void agree_on_plan(host::Domain& domain, const Plan& plan, std::string_view phase,
                   host::Domain::TimePoint deadline);

/// Whether a step exchanges something with other ranks. Then a rank that has no memory left in the
/// middle of it must not go on to say so in the next exchange: they would wait for this one.
enum class StepKind { local, exchanging };

/// Runs a step, then tells everybody how it went: one failure is every rank's error, of the lowest
/// rank that failed. Collective over the domain.
/// Throws, from an exchanging step: std::bad_alloc, which has then been told to nobody.
void run_agreed(host::Domain& domain, std::string_view phase, host::Domain::TimePoint deadline,
                StepKind kind, FunctionRef<void()> step);

/// Runs `step`. Where not even its bookkeeping gets memory, that is the job's fault: the others
/// would wait for this rank until their deadline.
template <typename Step>
decltype(auto) or_out_of_memory(host::Domain& domain, std::string_view phase, const Step& step) {
  try {
    return step();
  } catch (const std::bad_alloc&) {
    const WorldRank rank = domain.rank();
    domain.fail(Error(
        ErrorCode::out_of_memory,
        "rank " + std::to_string(rank.index()) + " has no memory left in " + std::string(phase),
        rank, std::string(phase)));
  }
}

/// Known from the plan alone, so every rank throws it, and before anything is allocated.
/// Throws: Error{strict_miss}.
void refuse_what_strict_forbids(const Plan& plan);

}  // namespace cohort
