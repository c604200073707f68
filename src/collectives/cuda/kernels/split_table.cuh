#pragma once

// How the files of instances of `split` find theirs.

#include "collectives/cuda/kernels/split.cuh"
#include "collectives/cuda/kernels/split.hpp"

namespace cohort::cuda {

template <class Numbers, int U, int MEMBERS>
const void* address_of_split() {
  return reinterpret_cast<const void*>(&split<Numbers, U, MEMBERS>);
}

/// Two lines a thread were measured to pay in groups of two only, for sums and moves.
template <class Numbers, bool kTwoLines>
const void* find_split(const SplitKey& key) {
  if constexpr (kTwoLines) {
    if (key.lines_per_thread == 2 && key.members == 2) return address_of_split<Numbers, 2, 2>();
  }
  if (key.lines_per_thread != 1) return nullptr;
  switch (key.members) {
    case 2: return address_of_split<Numbers, 1, 2>();
    case 8: return address_of_split<Numbers, 1, 8>();
    case 64: return address_of_split<Numbers, 1, 64>();
    default: return nullptr;
  }
}

}  // namespace cohort::cuda
