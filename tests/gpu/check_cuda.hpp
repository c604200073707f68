#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace cohort::test {

/// Throws: std::runtime_error with CUDA's text unless it is a success.
inline void check_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
  }
}

}  // namespace cohort::test
