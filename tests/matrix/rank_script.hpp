#pragma once

// What every rank of a case does: a world with the fault in it, and one after it.

#include <cstdint>

#include <cohort/world.hpp>

#include "matrix/board.hpp"
#include "matrix/fault_case.hpp"

namespace cohort::matrix {

/// Deadlines of the world with the fault: short, since faults that nobody sees are waited for.
WaitLimits short_limits();

/// Plays rank `rank` to its end, which lands in the board.
void play(const FaultCase& fault_case, std::uint32_t rank, Board& board);

}  // namespace cohort::matrix
