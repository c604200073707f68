#pragma once

// Whether a case ended as it must.

#include <array>

#include "matrix/board.hpp"
#include "matrix/fault_case.hpp"
#include "matrix/run_case.hpp"

namespace cohort::matrix {

/// How a rank's process ended, as its parent saw it.
struct ProcessEnd {
  bool hung = false;  ///< it had to be killed by the runner
  int exit_code = 0;
  int signal = 0;
};

Outcome judge(const FaultCase& fault_case, const Board& board,
              const std::array<ProcessEnd, kRankCountMax>& processes);

}  // namespace cohort::matrix
