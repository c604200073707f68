#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "kernels.hpp"
#include "layer_kernels.hpp"
#include "values.cuh"

namespace cohort::gpu_bench {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kFirstRank = 102;

/// A multiple of 1/16, of so many: [-count / 32, count / 32).
__device__ float gridded(std::uint32_t rank, std::uint64_t index, std::uint32_t seed, float count) {
  return floorf(value(rank, index, seed) * count / 2) / 16;
}

__device__ float addend(std::uint32_t rank, std::uint64_t index, std::uint32_t seed) {
  return gridded(rank, index, seed, 16);
}

__device__ float residual(std::uint64_t index, std::uint32_t seed) {
  return gridded(kResidualRank, index, seed, 128);
}

__device__ float first_value(std::uint64_t index, std::uint32_t seed) {
  return gridded(kFirstRank, index, seed, 128);
}

__global__ void fill_rows_kernel(RowData kind, __nv_bfloat16* rows, RowRange range,
                                 std::uint32_t rank, std::uint32_t seed) {
  for (std::uint32_t i = threadIdx.x; i < kHidden; i += blockDim.x) {
    const std::uint64_t index = (range.first + blockIdx.x) * kHidden + i;
    float number = 0;
    switch (kind) {
      case RowData::first: number = first_value(index, seed); break;
      case RowData::addend: number = addend(rank, index, seed); break;
      case RowData::negative_addend: number = -addend(rank, index, seed); break;
      case RowData::residual: number = residual(index, seed); break;
    }
    rows[std::uint64_t{blockIdx.x} * kHidden + i] = __float2bfloat16(number);
  }
}

/// What the norm works on.
__device__ double added(const ExpectedRows& expected, std::uint64_t index) {
  double sum = residual(index, expected.seed);
  if (expected.state != RowState::normed_with_sum) return sum;
  for (std::uint32_t rank = 0; rank < expected.ranks; ++rank)
    sum += addend(rank, index, expected.seed);
  return sum;
}

__global__ void check_rows_kernel(ExpectedRows expected, const __nv_bfloat16* rows, RowRange range,
                                  std::uint64_t* wrong) {
  __shared__ double squares;
  if (threadIdx.x == 0) squares = 0;
  __syncthreads();
  const std::uint64_t row = (range.first + blockIdx.x) * kHidden;
  double own = 0;
  for (std::uint32_t i = threadIdx.x; i < kHidden; i += blockDim.x)
    own += added(expected, row + i) * added(expected, row + i);
  atomicAdd(&squares, own);
  __syncthreads();
  const double scale = 1 / sqrt(squares / kHidden + kEpsilon);
  std::uint64_t mine = 0;
  for (std::uint32_t i = threadIdx.x; i < kHidden; i += blockDim.x) {
    const double got =
        static_cast<double>(__bfloat162float(rows[std::uint64_t{blockIdx.x} * kHidden + i]));
    double right = 0;
    double slack = 0;
    if (expected.state == RowState::first) {
      right = first_value(row + i, expected.seed);
    } else if (expected.state == RowState::residual) {
      right = residual(row + i, expected.seed);
    } else {
      right = added(expected, row + i) * scale *
              rounded<__nv_bfloat16>(value(kWeightRank, i, expected.seed));
      slack = fabs(right) * rounding<__nv_bfloat16>();
    }
    mine += !(fabs(got - right) <= slack);
  }
  count_wrong(mine, wrong);
}

}  // namespace

void fill_rows(RowData kind, void* rows, RowRange range, std::uint32_t rank, std::uint32_t seed,
               cudaStream_t stream) {
  if (range.count == 0) return;
  fill_rows_kernel<<<static_cast<unsigned>(range.count), kThreads, 0, stream>>>(
      kind, static_cast<__nv_bfloat16*>(rows), range, rank, seed);
  require(cudaGetLastError(), "fill_rows");
}

void check_rows(const ExpectedRows& expected, const void* rows, RowRange range,
                std::uint64_t* wrong, cudaStream_t stream) {
  if (range.count == 0) return;
  check_rows_kernel<<<static_cast<unsigned>(range.count), kThreads, 0, stream>>>(
      expected, static_cast<const __nv_bfloat16*>(rows), range, wrong);
  require(cudaGetLastError(), "check_rows");
}

}  // namespace cohort::gpu_bench
