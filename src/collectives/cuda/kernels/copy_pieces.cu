#include <cuda_runtime.h>

#include <algorithm>

#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/copy_pieces.hpp"
#include "collectives/cuda/kernels/copy_shape.hpp"
#include "collectives/cuda/kernels/launch.hpp"
#include "collectives/cuda/kernels/words.cuh"

namespace cohort::cuda {

namespace {

/// Enough to fill any device; what is more goes on with the same blocks.
constexpr std::uint64_t kCopyBlocksMax = 4096;

struct CopyArgs {
  std::uint64_t units;
  std::uint32_t count;
  std::uint64_t first_unit[kCopyPiecesMax];
  CopyShape shapes[kCopyPiecesMax];
};
// What every driver takes.
static_assert(sizeof(CopyArgs) <= 4096);

__device__ std::uint32_t piece_of(const CopyArgs& args, std::uint64_t unit) {
  std::uint32_t low = 0;
  std::uint32_t high = args.count;
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    if (args.first_unit[middle] <= unit) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

template <class Item>
__device__ void copy_unit(const CopyShape& shape, std::uint64_t unit) {
  const CopyPiece& piece = shape.piece;
  Item held[kCopyItems];
  Item* to[kCopyItems];
#pragma unroll
  for (std::uint32_t i = 0; i < kCopyItems; ++i) {
    const std::uint64_t item = unit * kCopyUnitItems + i * kCopyThreads + threadIdx.x;
    to[i] = nullptr;
    held[i] = Item{};
    if (item >= shape.items) continue;
    std::uint64_t row = 0;
    std::uint64_t column = item;
    if (piece.rows > 1) {
      row = item / shape.row_items;
      column = item - row * shape.row_items;
    }
    column *= sizeof(Item);
    to[i] = reinterpret_cast<Item*>(piece.to + row * piece.to_stride + column);
    if (piece.from == 0) continue;
    held[i] = *reinterpret_cast<const Item*>(piece.from + row * piece.from_stride + column);
  }
#pragma unroll
  for (std::uint32_t i = 0; i < kCopyItems; ++i) {
    if (to[i] != nullptr) *to[i] = held[i];
  }
}

__device__ void copy_tail(const CopyShape& shape) {
  if (threadIdx.x >= shape.tail_bytes) return;
  const std::uint64_t at = shape.row_items * shape.item_bytes + threadIdx.x;
  const char* from = reinterpret_cast<const char*>(shape.piece.from);
  reinterpret_cast<char*>(shape.piece.to)[at] = from == nullptr ? 0 : from[at];
}

__global__ void __launch_bounds__(kCopyThreads) copy_all(const __grid_constant__ CopyArgs args) {
  wait_for_kernel_before();
  let_next_kernel_start();
  for (std::uint64_t unit = blockIdx.x; unit < args.units; unit += gridDim.x) {
    const std::uint32_t index = piece_of(args, unit);
    const CopyShape& shape = args.shapes[index];
    const std::uint64_t own = unit - args.first_unit[index];
    switch (shape.item_bytes) {
      case 16: copy_unit<uint4>(shape, own); break;
      case 8: copy_unit<uint2>(shape, own); break;
      case 4: copy_unit<std::uint32_t>(shape, own); break;
      case 2: copy_unit<std::uint16_t>(shape, own); break;
      default: copy_unit<std::uint8_t>(shape, own); break;
    }
    if (own == 0) copy_tail(shape);
  }
}

}  // namespace

Status load_copy_kernel() {
  cudaFuncAttributes attributes{};
  COHORT_CUDA_TRY(cudaFuncGetAttributes, &attributes, copy_all);
  return succeeded();
}

Status launch_copies(const CopyPiece* pieces, std::uint32_t count, StreamHandle stream) {
  if (count > kCopyPiecesMax) {
    return failure(Status::Code::usage, "%u pieces to copy in one launch; %u fit", count,
                   kCopyPiecesMax);
  }
  CopyArgs args{};
  for (std::uint32_t i = 0; i < count; ++i) {
    const CopyShape shape = copy_shape(pieces[i]);
    const std::uint64_t units = copy_units(shape);
    if (units == 0) continue;
    args.first_unit[args.count] = args.units;
    args.shapes[args.count++] = shape;
    args.units += units;
  }
  if (args.units == 0) return succeeded();
  KernelCall grid{};
  grid.blocks = static_cast<std::uint32_t>(std::min(args.units, kCopyBlocksMax));
  grid.threads = kCopyThreads;
  grid.stream = stream;
  void* parameters[] = {&args};
  return launch_kernel(reinterpret_cast<const void*>(&copy_all), grid, parameters);
}

}  // namespace cohort::cuda
