// Sums of floats.
#include "collectives/cuda/kernels/split_table.cuh"

namespace cohort::cuda {

const void* find_split_sum(const SplitKey& key) {
  switch (key.dtype) {
    case DType::f32: return find_split<Reduced<SumF32<4>>, true>(key);
    case DType::bf16: return find_split<Reduced<SumPairs<Bf16, 4>>, true>(key);
    case DType::f16: return find_split<Reduced<SumPairs<F16, 4>>, true>(key);
    default: return nullptr;
  }
}

}  // namespace cohort::cuda
