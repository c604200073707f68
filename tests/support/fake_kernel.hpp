#pragma once

// What a kernel of the plugin does, in plain C++.

#include <string>

#include "backend/cuda/abi.hpp"

namespace cohort::test {

/// Why the plugin would refuse to launch the call: a grid that does not cover it, scratch that does
/// not hold it. Empty if it would not.
std::string fault_of_launch(const cuda::KernelCall& call);

/// Runs one rank's part of a call; returns once it has ended, whether well or with a fault record.
void run_fake_kernel(const cuda::KernelCall& call);

}  // namespace cohort::test
