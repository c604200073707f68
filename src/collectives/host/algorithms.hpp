#pragma once

// The host algorithms. Each runs one call whose header this rank has published through `exchange`,
// reads and compares every member's header, and leaves the result in `call.output`. On a refusal by
// any member they return early, and alike on all members. One file per algorithm.

#include <span>

#include "collectives/host/exchange.hpp"

namespace cohort::host {

/// Operands travelled with the headers: one wait for any operation.
void run_inline(Exchange& exchange, std::span<const std::byte*> operands);

/// Every rank reduces everything straight from the operands, in group-rank order; all headers have
/// arrived. Requires: nobody's output is an operand.
void reduce_whole(Exchange& exchange, std::span<const std::byte*> operands);

/// Reduce-scatter, then all-gather, both by reading: every rank reduces one part in group-rank
/// order, then reads the parts of the others (Rabenseifner 2004, here over shared memory). All
/// headers have arrived.
/// `result` is where this rank's arena holds the parts that peers read.
void pull_all_reduce(Exchange& exchange, std::byte* result, std::span<const std::byte*> operands);

void pull_all_gather(Exchange& exchange);

void pull_reduce_scatter(Exchange& exchange, std::span<const std::byte*> operands);

void pull_all_to_all(Exchange& exchange);

/// Everybody reads from the root.
void pull_broadcast(Exchange& exchange);

/// Every member but the root reads from `parent`, piece by piece as they become readable. `relay`
/// is where this rank's arena holds the pieces for those that read from it; null if nobody does.
void relay_broadcast(Exchange& exchange, std::uint32_t parent, std::byte* relay);

}  // namespace cohort::host
