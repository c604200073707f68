#pragma once

// The kernels of `once` and `two_shot` by what they are compiled for. Each file of instances offers
// a function that finds one of its kernels, or none.

#include "collectives/cuda/kernels/once.cuh"
#include "collectives/cuda/kernels/pair.cuh"

namespace cohort::cuda {

/// Groups up to so many members share a kernel.
inline constexpr int kMemberClasses[] = {2, 4, 8, 64};

/// The smallest that has room.
constexpr int member_class(const KernelCall& call) noexcept {
  const std::uint32_t members = call.members.count;
  if (members <= 2 && call.algorithm != Algorithm::two_shot) return 2;
  if (members <= 4) return 4;
  return members <= 8 ? 8 : 64;
}

struct KernelKey {
  Shape shape;
  Protocol protocol;
  std::uint32_t lines_per_thread;
  int members;      ///< a member class
  bool is_aligned;  ///< of two members: every line of every operand is full and aligned
};

/// Null where there is no such kernel.
using FindKernel = const void* (*)(const KernelKey&);
const void* find_f32_sum(const KernelKey& key);
const void* find_bf16_sum(const KernelKey& key);
const void* find_f16_sum(const KernelKey& key);
const void* find_float_order(const KernelKey& key);
const void* find_integer_reduction(const KernelKey& key);
const void* find_move(const KernelKey& key);

template <Shape S, template <int> class Numbers, Protocol P, int U, int MEMBERS>
const void* address_of_kernel() {
  return reinterpret_cast<const void*>(&once<S, Numbers, P, U, MEMBERS>);
}

template <Shape S, template <int> class Numbers, Protocol P, int U>
const void* find_pair(const KernelKey& key) {
  if (!key.is_aligned) return address_of_kernel<S, Numbers, P, U, 2>();
  return reinterpret_cast<const void*>(&pair<S, Numbers, P, U>);
}

template <Shape S, template <int> class Numbers, Protocol P>
const void* find_of_protocol(const KernelKey& key) {
  if (key.is_aligned && key.members != 2) return nullptr;
  // Two lines a thread pay for large operands, which larger groups reduce in two steps.
  if (key.lines_per_thread == 2) {
    if constexpr (P == Protocol::sentinel && S != Shape::two_shot) {
      if (key.members == 2) return find_pair<S, Numbers, P, 2>(key);
    }
    return nullptr;
  }
  if (key.lines_per_thread != 1) return nullptr;
  switch (key.members) {
    case 2:
      // Of two members each would send as much in two steps as in one.
      if constexpr (S == Shape::two_shot) {
        return nullptr;
      } else {
        return find_pair<S, Numbers, P, 1>(key);
      }
    case 4: return address_of_kernel<S, Numbers, P, 1, 4>();
    case 8: return address_of_kernel<S, Numbers, P, 1, 8>();
    case 64: return address_of_kernel<S, Numbers, P, 1, 64>();
    default: return nullptr;
  }
}

template <Shape S, template <int> class Numbers>
const void* find_of_shape(const KernelKey& key) {
  if (key.protocol == Protocol::sentinel) {
    return find_of_protocol<S, Numbers, Protocol::sentinel>(key);
  }
  if constexpr (S == Shape::two_shot) {
    return nullptr;
  } else {
    return find_of_protocol<S, Numbers, Protocol::flags>(key);
  }
}

template <template <int> class Numbers>
const void* find_reduction(const KernelKey& key) {
  switch (key.shape) {
    case Shape::all_reduce: return find_of_shape<Shape::all_reduce, Numbers>(key);
    case Shape::reduce_scatter: return find_of_shape<Shape::reduce_scatter, Numbers>(key);
    case Shape::two_shot: return find_of_shape<Shape::two_shot, Numbers>(key);
    default: return nullptr;
  }
}

}  // namespace cohort::cuda
