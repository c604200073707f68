#pragma once

#include "backend/cuda/abi.hpp"

namespace cohort::test {

/// Sets the functions of the table that norm rows. Only in the type of the input.
void set_norm_functions(cuda::Api& api);

}  // namespace cohort::test
