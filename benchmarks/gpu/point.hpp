#pragma once

// What is measured: one operation at one size, with operands that are warm or cold.

#include <cstddef>
#include <cstdint>
#include <string>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

#include "ranks.hpp"

namespace cohort::gpu_bench {

enum class Operation : std::uint8_t {
  all_reduce,
  all_gather,
  reduce_scatter,
  all_gatherv,
  reduce_scatterv,
  all_reduce_norm,  ///< all_reduce, then residual and RMSNorm
  layer_step,       ///< kBoundaries times: gather rows, scatter their sum, residual and RMSNorm
  layer_step_tp,    ///< kBoundaries times all_reduce_norm
};

inline constexpr std::uint32_t kHidden = 7168;  ///< of what is counted in rows
/// Of a step. Even: what odd boundaries add to the residual, even ones take away again.
inline constexpr std::uint32_t kBoundaries = 8;

struct Point {
  Operation operation = Operation::all_reduce;
  DType dtype = DType::bf16;
  /// Of the operand of all_reduce; of the gathered output; of the input of reduce_scatter; of the
  /// batch's rows in a step of layers.
  std::uint64_t bytes = 0;
  /// Each call of a replay has operands of its own, and the cache is emptied before.
  bool rotating = false;
};

const char* to_string(Operation operation) noexcept;
/// Throws: std::runtime_error for a name that is none.
Operation parse_operation(const std::string& name);
/// What cohort calls it: of all_reduce_norm, the sum; of steps, which are several calls, barrier.
Op op_of(Operation operation) noexcept;

constexpr bool is_gather(Operation operation) noexcept {
  return operation == Operation::all_gather || operation == Operation::all_gatherv;
}
constexpr bool is_scatter(Operation operation) noexcept {
  return operation == Operation::reduce_scatter || operation == Operation::reduce_scatterv;
}

constexpr bool is_layers(Operation operation) noexcept {
  return operation == Operation::layer_step || operation == Operation::layer_step_tp;
}
/// Whether its sizes are rows of kHidden, bf16.
constexpr bool counts_rows(Operation operation) noexcept {
  return operation == Operation::all_reduce_norm || is_layers(operation);
}

/// Elements [begins[r], begins[r + 1]) belong to rank r; of all_reduce, everything to each.
struct Shares {
  std::uint64_t begins[kRanksMax + 1] = {};  // plain, so that kernels can read it
  std::uint64_t total = 0;
  std::uint64_t of(std::uint32_t rank) const noexcept { return begins[rank + 1] - begins[rank]; }
};

/// Equal shares; of the v-forms, rows of 1024 bytes as 1 : 2 : 3 ... with what is left at the last.
Shares shares_of(const Point& point, std::uint32_t ranks);

/// Of what is counted in rows.
constexpr std::uint64_t rows_of(const Point& point) noexcept {
  return point.bytes / kHidden / bytes_of(point.dtype);
}
/// Rows of a step by rank: as equal as can be, the first ones with one more; or `padded`, so that
/// all have as many, as libraries want it that know no other form.
Shares layer_rows(std::uint64_t rows, std::uint32_t ranks, bool padded);
/// One of the calls that a step is made of, on so many rows.
Point call_of_step(Operation call, std::uint64_t rows);
std::uint64_t input_elements(const Point& point, std::uint32_t rank, std::uint32_t ranks);
std::uint64_t output_elements(const Point& point, std::uint32_t rank, std::uint32_t ranks);
/// The least that some rank must receive over its link, or send.
std::uint64_t wire_bytes(const Point& point, std::uint32_t ranks);

}  // namespace cohort::gpu_bench
