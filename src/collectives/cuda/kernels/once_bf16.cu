// Sums of bf16.
#include "collectives/cuda/kernels/table.cuh"

namespace cohort::cuda {

const void* find_bf16_sum(const KernelKey& key) {
  return find_reduction<SumBf16>(key);
}

}  // namespace cohort::cuda
