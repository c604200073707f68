// Minima and maxima of floats.
#include "collectives/cuda/kernels/table.cuh"

namespace cohort::cuda {

const void* find_float_order(const KernelKey& key) {
  return find_reduction<OrderFloats>(key);
}

}  // namespace cohort::cuda
