#pragma once

// The data that every rank can work out, and what checks of it share.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace cohort::gpu_bench {

inline constexpr float kEpsilon = 1e-6F;

__device__ inline float value(std::uint32_t rank, std::uint64_t index, std::uint32_t seed) {
  std::uint32_t hash = static_cast<std::uint32_t>(index) * 2654435761U +
                       static_cast<std::uint32_t>(index >> 32) * 2246822519U;
  hash ^= rank * 0x9e3779b9U ^ seed * 0x85ebca6bU;
  hash ^= hash >> 15;
  hash *= 0x2c1b3c6dU;
  hash ^= hash >> 12;
  hash *= 0x297a2d39U;
  hash ^= hash >> 15;
  return static_cast<float>(static_cast<std::int32_t>(hash) >> 8) / 8388608.0F;
}

template <typename T>
__device__ double rounded(float number) {
  return static_cast<double>(static_cast<float>(static_cast<T>(number)));
}

/// Half the distance between neighbours, as a part of the number.
template <typename T>
__device__ constexpr double rounding() {
  if constexpr (sizeof(T) == 4) return 1.0 / (1 << 23);
  if constexpr (std::is_same_v<T, __half>) return 1.0 / (1 << 10);
  return 1.0 / (1 << 7);
}

__device__ inline void count_wrong(std::uint64_t mine, std::uint64_t* wrong) {
  if (mine != 0) atomicAdd(reinterpret_cast<unsigned long long*>(wrong), mine);
}

}  // namespace cohort::gpu_bench
