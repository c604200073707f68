#pragma once

// What is measured: one operation at one size, with operands that are warm or cold.

#include <cstddef>
#include <cstdint>
#include <string>

#include <cohort/dtype.hpp>

#include "ranks.hpp"

namespace cohort::gpu_bench {

enum class Operation : std::uint8_t {
  all_reduce,
  all_gather,
  reduce_scatter,
  all_gatherv,
  reduce_scatterv,
  all_reduce_norm,  ///< all_reduce, then residual and RMSNorm
};

inline constexpr std::uint32_t kHidden = 7168;  ///< of all_reduce_norm

struct Point {
  Operation operation = Operation::all_reduce;
  DType dtype = DType::bf16;
  /// Of the operand of all_reduce; of the gathered output; of the input of reduce_scatter.
  std::uint64_t bytes = 0;
  /// Each call of a replay has operands of its own, and the cache is emptied before.
  bool rotating = false;
};

const char* to_string(Operation operation) noexcept;
/// Throws: std::runtime_error for a name that is none.
Operation parse_operation(const std::string& name);

constexpr bool is_gather(Operation operation) noexcept {
  return operation == Operation::all_gather || operation == Operation::all_gatherv;
}
constexpr bool is_scatter(Operation operation) noexcept {
  return operation == Operation::reduce_scatter || operation == Operation::reduce_scatterv;
}

/// Elements [begins[r], begins[r + 1]) belong to rank r; of all_reduce, everything to each.
struct Shares {
  std::uint64_t begins[kRanksMax + 1] = {};  // plain, so that kernels can read it
  std::uint64_t total = 0;
  std::uint64_t of(std::uint32_t rank) const noexcept { return begins[rank + 1] - begins[rank]; }
};

/// Equal shares; of the v-forms, rows of 1024 bytes as 1 : 2 : 3 ... with what is left at the last.
Shares shares_of(const Point& point, std::uint32_t ranks);

/// Of all_reduce_norm.
constexpr std::uint64_t rows_of(const Point& point) noexcept {
  return point.bytes / kHidden / bytes_of(point.dtype);
}
std::uint64_t input_elements(const Point& point, std::uint32_t rank, std::uint32_t ranks);
std::uint64_t output_elements(const Point& point, std::uint32_t rank, std::uint32_t ranks);
/// The least that some rank must receive over its link, or send.
std::uint64_t wire_bytes(const Point& point, std::uint32_t ranks);

}  // namespace cohort::gpu_bench
