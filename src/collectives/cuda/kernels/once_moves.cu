// What moves bytes without looking at them.
#include "collectives/cuda/kernels/table.cuh"

namespace cohort::cuda {

const void* find_move(const KernelKey& key) {
  if (key.shape == Shape::gather) return find_of_shape<Shape::gather, Bytes>(key);
  if (key.shape == Shape::exchange) return find_of_shape<Shape::exchange, Bytes>(key);
  return nullptr;
}

}  // namespace cohort::cuda
