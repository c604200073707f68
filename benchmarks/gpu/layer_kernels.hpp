#pragma once

// Rows of kHidden in bf16 whose sums over ranks are exact in that type, in any order: multiples of
// 1/16, small enough that eight ranks' sum and the residual on top take eight bits.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace cohort::gpu_bench {

/// Rows [first, first + count) of the batch.
struct RowRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

enum class RowData : std::uint8_t {
  first,            ///< what is gathered before anything was added
  addend,           ///< of a rank
  negative_addend,  ///< the same, taken away
  residual,
};
void fill_rows(RowData kind, void* rows, RowRange range, std::uint32_t rank, std::uint32_t seed,
               cudaStream_t stream);

enum class RowState : std::uint8_t {
  first,
  residual,
  normed,           ///< the residual, normed
  normed_with_sum,  ///< the residual with all ranks' addends, normed
};
struct ExpectedRows {
  RowState state;
  std::uint32_t ranks;
  std::uint32_t seed;
};
/// Adds to `*wrong` the elements that are not those, in double; normed ones may be rounded once.
void check_rows(const ExpectedRows& expected, const void* rows, RowRange range,
                std::uint64_t* wrong, cudaStream_t stream);

}  // namespace cohort::gpu_bench
