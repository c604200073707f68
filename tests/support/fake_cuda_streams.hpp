#pragma once

#include "backend/cuda/abi.hpp"

namespace cohort::test {

/// Sets the functions of the table that copy in a stream, and those that make streams and graphs.
void set_stream_functions(cuda::Api& api);

}  // namespace cohort::test
