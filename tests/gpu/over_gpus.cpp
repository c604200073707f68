// Sessions of this process are over the plugin.

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "gpu/rank_gpu.hpp"

namespace cohort::test {

bool is_over_fake() noexcept {
  return false;
}

std::uint64_t free_device_bytes(std::uint32_t device) {
  std::size_t free = 0;
  std::size_t all = 0;
  cudaError_t error = cudaSetDevice(static_cast<int>(device));
  if (error == cudaSuccess) error = cudaMemGetInfo(&free, &all);
  if (error == cudaSuccess) return free;
  throw std::runtime_error(std::string("cudaMemGetInfo: ") + cudaGetErrorString(error));
}

}  // namespace cohort::test
