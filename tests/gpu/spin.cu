#include <cuda_runtime.h>

#include "gpu/spin.hpp"

namespace cohort::cuda {
namespace {

constexpr unsigned kThreads = 1024;

__device__ unsigned long long now_ns() {
  unsigned long long time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

__global__ void __launch_bounds__(kThreads)
    spin(const volatile std::uint32_t* word, volatile std::uint32_t* ended,
         unsigned long long limit_ns) {
  if (threadIdx.x == 0) {
    const unsigned long long began = now_ns();
    while (*word == 0 && now_ns() - began < limit_ns) {
    }
    if (blockIdx.x == 0) *ended = *word != 0 ? 1 : 2;
  }
  __syncthreads();
}

std::string text_of(const char* call, cudaError_t error) {
  return error == cudaSuccess ? "" : std::string(call) + ": " + cudaGetErrorString(error);
}

}  // namespace

std::string start_spinning(std::uint32_t device, StreamHandle stream, Address word, Address ended,
                           std::uint32_t seconds) {
  cudaError_t error = cudaSetDevice(static_cast<int>(device));
  if (error != cudaSuccess) return text_of("cudaSetDevice", error);
  int multiprocessors = 0;
  error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount,
                                 static_cast<int>(device));
  if (error != cudaSuccess) return text_of("cudaDeviceGetAttribute", error);
  int blocks = 0;
  error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, spin, kThreads, 0);
  if (error != cudaSuccess) return text_of("cudaOccupancyMaxActiveBlocksPerMultiprocessor", error);
  spin<<<static_cast<unsigned>(blocks * multiprocessors), kThreads, 0,
         static_cast<cudaStream_t>(stream)>>>(reinterpret_cast<const std::uint32_t*>(word),
                                              reinterpret_cast<std::uint32_t*>(ended),
                                              seconds * 1'000'000'000ULL);
  return text_of("launch", cudaGetLastError());
}

}  // namespace cohort::cuda
