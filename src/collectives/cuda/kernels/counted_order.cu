// Minima and maxima of floats, everything of integers, and what is moved and not looked at.
#include "collectives/cuda/kernels/counted.cuh"
#include "collectives/cuda/kernels/counted.hpp"

namespace cohort::cuda {

const void* find_counted_order(DType dtype, int members) {
  switch (dtype) {
    case DType::f32:
    case DType::bf16:
    case DType::f16: return find_counted<Reduced<OrderFloats<4>>>(members);
    case DType::i32:
    case DType::i64:
    case DType::u8: return find_counted<Reduced<CombineIntegers<4>>>(members);
    default: return nullptr;
  }
}

const void* find_counted_move(int members) {
  return find_counted<Untouched>(members);
}

}  // namespace cohort::cuda
