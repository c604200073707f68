// Reductions of integers.
#include "collectives/cuda/kernels/table.cuh"

namespace cohort::cuda {

const void* find_integer_reduction(const KernelKey& key) {
  return find_reduction<CombineIntegers>(key);
}

}  // namespace cohort::cuda
