#include "layer_step.hpp"

#include "kernels.hpp"
#include "layer_kernels.hpp"

namespace cohort::gpu_bench {
namespace {

constexpr std::uint64_t kRowBytes = std::uint64_t{kHidden} * 2;
constexpr std::uint64_t kGuardBytes = 512;
constexpr std::uint8_t kPoison = 0xFF;  // a NaN in bf16
static_assert(kRowBytes % 512 == 0, "rows keep buffers aligned");
static_assert(kBoundaries % 2 == 0, "or the residual would not come back to what it was");

void poison(std::byte* data, std::uint64_t bytes, cudaStream_t stream) {
  require(cudaMemsetAsync(data, kPoison, bytes, stream), "cudaMemset");
}

}  // namespace

LayerStep::LayerStep(const Point& point, std::uint32_t rank, std::uint32_t ranks, bool padded)
    : rows_(layer_rows(rows_of(point), ranks, padded && point.operation == Operation::layer_step)),
      rank_(rank),
      ranks_(ranks),
      scatters_(point.operation == Operation::layer_step),
      buffer_bytes_(layer_rows(rows_of(point), ranks, true).total * kRowBytes + kGuardBytes) {}

std::uint64_t LayerStep::bytes() const noexcept {
  return (2 * std::uint64_t{kBoundaries} + 2) * buffer_bytes_;
}

std::uint64_t LayerStep::own_rows() const noexcept {
  return scatters_ ? rows_.of(rank_) : rows_.total;
}

std::uint64_t LayerStep::first_own_row() const noexcept {
  return scatters_ ? rows_.begins[rank_] : 0;
}

std::byte* LayerStep::whole(std::byte* operands, std::uint32_t boundary) const noexcept {
  return operands + boundary * buffer_bytes_;
}

std::byte* LayerStep::own(std::byte* operands, std::uint32_t boundary) const noexcept {
  return whole(operands, boundary) + first_own_row() * kRowBytes;
}

std::byte* LayerStep::addend(std::byte* operands, std::uint32_t boundary) const noexcept {
  return operands + (kBoundaries + 1 + boundary) * buffer_bytes_;
}

std::byte* LayerStep::sum(std::byte* operands) const noexcept {
  return addend(operands, kBoundaries);
}

void LayerStep::fill(std::byte* operands, const NormOperands& norm, std::uint32_t seed,
                     cudaStream_t stream) const {
  poison(operands, bytes(), stream);
  const RowRange mine{first_own_row(), own_rows()};
  if (scatters_) fill_rows(RowData::first, own(operands, 0), mine, rank_, seed, stream);
  for (std::uint32_t i = 0; i < kBoundaries; ++i) {
    fill_rows(i % 2 == 0 ? RowData::addend : RowData::negative_addend, addend(operands, i),
              {0, rows_.total}, rank_, seed, stream);
  }
  fill_rows(RowData::residual, norm.residual, mine, rank_, seed, stream);
  gpu_bench::fill(DType::bf16, norm.weight, 0, kHidden, kWeightRank, seed, stream);
}

void LayerStep::check(std::byte* operands, const NormOperands& norm, std::uint32_t seed,
                      std::uint64_t* wrong, cudaStream_t stream) const {
  const RowRange mine{first_own_row(), own_rows()};
  const RowRange all{0, rows_.total};
  const auto expect = [&](RowState state, RowRange range, const std::byte* rows) {
    check_rows({state, ranks_, seed}, rows, range, wrong, stream);
  };
  if (scatters_) expect(RowState::first, all, whole(operands, 0));
  for (std::uint32_t i = 1; i <= kBoundaries; ++i) {
    const RowState state = i % 2 == 1 ? RowState::normed_with_sum : RowState::normed;
    // Nobody gathers the last ones.
    const bool is_gathered = i < kBoundaries || !scatters_;
    expect(state, is_gathered ? all : mine,
           is_gathered ? whole(operands, i) : own(operands, kBoundaries));
  }
  expect(RowState::residual, mine, norm.residual);
  for (std::uint32_t i = 0; i <= kBoundaries; ++i) {
    check_bytes(whole(operands, i) + rows_.total * kRowBytes, kGuardBytes, kPoison, wrong, stream);
  }
}

void LayerStep::zero_addends(std::byte* operands, cudaStream_t stream) const {
  require(cudaMemsetAsync(addend(operands, 0), 0, kBoundaries * buffer_bytes_, stream),
          "cudaMemset");
}

}  // namespace cohort::gpu_bench
