#pragma once

#include <chrono>

namespace cohort {

/// The clock of every deadline and duration: never set back.
using Clock = std::chrono::steady_clock;

/// Seconds since it was made or last restarted. Value type.
class Stopwatch {
 public:
  double seconds() const noexcept {
    return std::chrono::duration<double>(Clock::now() - began_).count();
  }
  void restart() noexcept { began_ = Clock::now(); }

 private:
  Clock::time_point began_ = Clock::now();
};

/// How much longer than usual every wait may take, from the environment variable
/// COHORT_DEADLINE_SCALE: for profilers, sanitizers and slow machines. 1 where it is not set.
/// Local. Throws: Error{usage} naming the variable if it is no number from 0.01 to 1000.
double deadline_scale_from_environment();

}  // namespace cohort
