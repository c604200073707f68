// Fused calls of f16.
#include "collectives/cuda/kernels/fused_table.cuh"

namespace cohort::cuda {

const void* find_fused_f16(const FusedKey& key) {
  return find_fused<F16>(key);
}

}  // namespace cohort::cuda
