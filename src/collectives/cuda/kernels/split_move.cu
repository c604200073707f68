// What is moved and not looked at.
#include "collectives/cuda/kernels/split_table.cuh"

namespace cohort::cuda {

const void* find_split_move(const SplitKey& key) {
  return find_split<Untouched, true>(key);
}

}  // namespace cohort::cuda
