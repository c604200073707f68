#pragma once

// How the files of instances of `fused` find theirs.

#include "collectives/cuda/kernels/fused.cuh"
#include "collectives/cuda/kernels/fused.hpp"

namespace cohort::cuda {

template <class T, bool kScatters, int U>
const void* find_fused_of_lines(int members) {
  switch (members) {
    case 2: return reinterpret_cast<const void*>(&fused<T, kScatters, U, 2>);
    case 8: return reinterpret_cast<const void*>(&fused<T, kScatters, U, 8>);
    case 64: return reinterpret_cast<const void*>(&fused<T, kScatters, U, 64>);
    default: return nullptr;
  }
}

template <class T, bool kScatters>
const void* find_fused_of_shape(const FusedKey& key) {
  switch (key.lines_per_thread) {
    case 1: return find_fused_of_lines<T, kScatters, 1>(key.members);
    case 2: return find_fused_of_lines<T, kScatters, 2>(key.members);
    case 4: return find_fused_of_lines<T, kScatters, 4>(key.members);
    default: return nullptr;
  }
}

template <class T>
const void* find_fused(const FusedKey& key) {
  return key.scatters ? find_fused_of_shape<T, true>(key) : find_fused_of_shape<T, false>(key);
}

}  // namespace cohort::cuda
