// Sums of floats.
#include "collectives/cuda/kernels/counted.cuh"
#include "collectives/cuda/kernels/counted.hpp"

namespace cohort::cuda {

const void* find_counted_sum(DType dtype, int members) {
  switch (dtype) {
    case DType::f32: return find_counted<Reduced<SumF32<4>>>(members);
    case DType::bf16: return find_counted<Reduced<SumPairs<Bf16, 4>>>(members);
    case DType::f16: return find_counted<Reduced<SumPairs<F16, 4>>>(members);
    default: return nullptr;
  }
}

}  // namespace cohort::cuda
