#pragma once

// Where the operands of a step of layer boundaries lie, what is in them, and what must be in them
// afterwards. A boundary gathers the rows of all ranks, then adds up what all ranks have for all
// rows and leaves each rank its own, then adds those to the residual and norms them into the rows
// that the next boundary gathers. With rows that every rank has (layer_step_tp) nothing is gathered
// or scattered. What would be computed in between is left out: addends are there beforehand.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "point.hpp"

namespace cohort::gpu_bench {

/// The residual of this rank's rows, and the weight.
struct NormOperands {
  std::byte* residual = nullptr;
  std::byte* weight = nullptr;
};

class LayerStep {
 public:
  LayerStep() = default;
  /// `padded`: every rank has as many rows. Room is taken for that in any case.
  LayerStep(const Point& point, std::uint32_t rank, std::uint32_t ranks, bool padded);

  const Shares& rows() const noexcept { return rows_; }
  bool scatters() const noexcept { return scatters_; }
  /// Of all operands.
  std::uint64_t bytes() const noexcept;
  std::uint64_t own_rows() const noexcept;

  /// All rows as boundary `boundary` gathers them; those behind the last are normed only.
  std::byte* whole(std::byte* operands, std::uint32_t boundary) const noexcept;
  /// This rank's rows of that.
  std::byte* own(std::byte* operands, std::uint32_t boundary) const noexcept;
  std::byte* addend(std::byte* operands, std::uint32_t boundary) const noexcept;
  std::byte* sum(std::byte* operands) const noexcept;

  /// New random data; poison wherever results go.
  void fill(std::byte* operands, const NormOperands& norm, std::uint32_t seed,
            cudaStream_t stream) const;
  /// Adds to `*wrong` what is wrong after one step or several.
  void check(std::byte* operands, const NormOperands& norm, std::uint32_t seed,
             std::uint64_t* wrong, cudaStream_t stream) const;
  void zero_addends(std::byte* operands, cudaStream_t stream) const;

 private:
  std::uint64_t first_own_row() const noexcept;

  Shares rows_;
  std::uint32_t rank_ = 0;
  std::uint32_t ranks_ = 1;
  bool scatters_ = true;
  std::uint64_t buffer_bytes_ = 0;  // of all rows, and what must stay untouched behind them
};

}  // namespace cohort::gpu_bench
