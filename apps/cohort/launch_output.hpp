#pragma once

#include <iosfwd>

#include "rendezvous/launcher.hpp"

namespace cohort {

/// Prints the one error of a job of ranks, if there is one, as `print_error` does, or that it was
/// interrupted; returns the job's exit code. Local.
int print_launch_result(const LaunchResult& result, bool json, std::ostream& output,
                        std::ostream& errors);

}  // namespace cohort
