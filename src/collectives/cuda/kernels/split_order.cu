// Minima and maxima of floats, and everything of integers.
#include "collectives/cuda/kernels/split_table.cuh"

namespace cohort::cuda {

const void* find_split_order(const SplitKey& key) {
  switch (key.dtype) {
    case DType::f32:
    case DType::bf16:
    case DType::f16: return find_split<Reduced<OrderFloats<4>>, false>(key);
    case DType::i32:
    case DType::i64:
    case DType::u8: return find_split<Reduced<CombineIntegers<4>>, false>(key);
    default: return nullptr;
  }
}

}  // namespace cohort::cuda
