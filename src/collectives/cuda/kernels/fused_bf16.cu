// Fused calls of bf16.
#include "collectives/cuda/kernels/fused_table.cuh"

namespace cohort::cuda {

const void* find_fused_bf16(const FusedKey& key) {
  return find_fused<Bf16>(key);
}

}  // namespace cohort::cuda
