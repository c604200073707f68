#pragma once

// Copies and zeroes within one rank's memory.

#include <span>

#include <cohort/local_move.hpp>

namespace cohort::collectives {

/// Throws: Error{usage} for bytes without a place to go, and for rows whose results overlap.
void check_moves(std::span<const LocalMove> moves);

/// On memory of the host, one after the other. Requires: `check_moves`.
void move_on_host(std::span<const LocalMove> moves) noexcept;

}  // namespace cohort::collectives
