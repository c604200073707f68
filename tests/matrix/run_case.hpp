#pragma once

// Runs cases of the fault matrix in processes of their own, and judges them.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "matrix/fault_case.hpp"

namespace cohort::matrix {

struct Outcome {
  /// One of `to_string(ErrorCode)`, "well", or "mixed" where some ranks had nothing to wait for.
  std::string how;
  double slowest_ms = 0;  ///< from the fault to the last error of a rank that did nothing wrong
  /// What is not as it must be, one line each; empty is good.
  std::string complaints;
};

/// Starts the ranks, plays the case and looks at what became of it.
Outcome run_case(const FaultCase& fault_case);

/// Runs cases, `jobs` at a time, and tells about each as it ends.
using Report = std::function<void(const FaultCase&, const Outcome&)>;
void run_cases(std::span<const FaultCase> cases, std::uint32_t jobs, const Report& report);

}  // namespace cohort::matrix
