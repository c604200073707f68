// Sums of f32.
#include "collectives/cuda/kernels/table.cuh"

namespace cohort::cuda {

const void* find_f32_sum(const KernelKey& key) {
  return find_reduction<SumF32>(key);
}

}  // namespace cohort::cuda
