#pragma once

// How the files of instances of `fused` find theirs.

#include "collectives/cuda/kernels/fused.cuh"
#include "collectives/cuda/kernels/fused.hpp"
#include "collectives/cuda/kernels/fused_pair.cuh"

namespace cohort::cuda {

template <class T, bool kScatters, int U>
const void* find_fused_of_lines(const FusedKey& key) {
  if (key.is_pair) return reinterpret_cast<const void*>(&fused_pair<T, kScatters, U>);
  switch (key.members) {
    case 2: return reinterpret_cast<const void*>(&fused<T, kScatters, U, 2>);
    case 8: return reinterpret_cast<const void*>(&fused<T, kScatters, U, 8>);
    case 64: return reinterpret_cast<const void*>(&fused<T, kScatters, U, 64>);
    default: return nullptr;
  }
}

template <class T, bool kScatters>
const void* find_fused_of_shape(const FusedKey& key) {
  switch (key.lines_per_thread) {
    case 1: return find_fused_of_lines<T, kScatters, 1>(key);
    case 2: return find_fused_of_lines<T, kScatters, 2>(key);
    case 4: return find_fused_of_lines<T, kScatters, 4>(key);
    default: return nullptr;
  }
}

template <class T>
const void* find_fused(const FusedKey& key) {
  return key.scatters ? find_fused_of_shape<T, true>(key) : find_fused_of_shape<T, false>(key);
}

}  // namespace cohort::cuda
