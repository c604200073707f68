// Sums of f16.
#include "collectives/cuda/kernels/table.cuh"

namespace cohort::cuda {

const void* find_f16_sum(const KernelKey& key) {
  return find_reduction<SumF16>(key);
}

}  // namespace cohort::cuda
