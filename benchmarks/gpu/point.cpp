#include "point.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace cohort::gpu_bench {
namespace {

constexpr std::array<const char*, 8> kNames{"all_reduce",  "all_gather",      "reduce_scatter",
                                            "all_gatherv", "reduce_scatterv", "all_reduce_norm",
                                            "layer_step",  "layer_step_tp"};
constexpr std::uint64_t kRowBytes = 1024;

bool is_uneven(Operation operation) {
  return operation == Operation::all_gatherv || operation == Operation::reduce_scatterv;
}

}  // namespace

const char* to_string(Operation operation) noexcept {
  return kNames[static_cast<std::size_t>(operation)];
}

Operation parse_operation(const std::string& name) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) throw std::runtime_error("no operation is called '" + name + "'");
  return static_cast<Operation>(found - kNames.begin());
}

Op op_of(Operation operation) noexcept {
  switch (operation) {
    case Operation::all_gather: return Op::all_gather;
    case Operation::reduce_scatter: return Op::reduce_scatter;
    case Operation::all_gatherv: return Op::all_gatherv;
    case Operation::reduce_scatterv: return Op::reduce_scatterv;
    case Operation::all_reduce:
    case Operation::all_reduce_norm: return Op::all_reduce;
    case Operation::layer_step:
    case Operation::layer_step_tp: break;  // several calls
  }
  return Op::barrier;
}

Shares shares_of(const Point& point, std::uint32_t ranks) {
  Shares shares;
  shares.total = point.bytes / bytes_of(point.dtype);
  const std::uint64_t unit = is_uneven(point.operation) ? kRowBytes / bytes_of(point.dtype) : 1;
  const std::uint64_t units = shares.total / unit;
  const std::uint64_t weights = std::uint64_t{ranks} * (ranks + 1) / 2;
  for (std::uint32_t rank = 1; rank < ranks; ++rank) {
    const std::uint64_t before =
        is_uneven(point.operation) ? units * rank * (rank + 1) / 2 / weights : units * rank / ranks;
    shares.begins[rank] = before * unit;
  }
  shares.begins[ranks] = shares.total;
  return shares;
}

Shares layer_rows(std::uint64_t rows, std::uint32_t ranks, bool padded) {
  Shares shares;
  const std::uint64_t more = padded ? ranks : rows % ranks;
  const std::uint64_t each = padded ? (rows + ranks - 1) / ranks - 1 : rows / ranks;
  for (std::uint32_t rank = 0; rank < ranks; ++rank)
    shares.begins[rank + 1] = shares.begins[rank] + each + (rank < more ? 1 : 0);
  shares.total = shares.begins[ranks];
  return shares;
}

Point call_of_step(Operation call, std::uint64_t rows) {
  return {call, DType::bf16, rows * kHidden * bytes_of(DType::bf16), false};
}

std::uint64_t input_elements(const Point& point, std::uint32_t rank, std::uint32_t ranks) {
  const Shares shares = shares_of(point, ranks);
  return is_gather(point.operation) ? shares.of(rank) : shares.total;
}

std::uint64_t output_elements(const Point& point, std::uint32_t rank, std::uint32_t ranks) {
  const Shares shares = shares_of(point, ranks);
  return is_scatter(point.operation) ? shares.of(rank) : shares.total;
}

std::uint64_t wire_bytes(const Point& point, std::uint32_t ranks) {
  if (is_layers(point.operation)) {
    const std::uint64_t rows = layer_rows(rows_of(point), ranks, true).total;
    const auto of = [&](Operation call) { return wire_bytes(call_of_step(call, rows), ranks); };
    if (point.operation == Operation::layer_step)
      return kBoundaries * (of(Operation::all_gather) + of(Operation::reduce_scatter));
    return kBoundaries * wire_bytes(call_of_step(Operation::all_reduce, rows_of(point)), ranks);
  }
  const Shares shares = shares_of(point, ranks);
  if (!is_gather(point.operation) && !is_scatter(point.operation))
    return 2 * (ranks - 1) * point.bytes / ranks;
  std::uint64_t most = 0;
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    // What it gathers from the others or what the others add to its part, and the other way round.
    most = std::max({most, shares.total - shares.of(rank), (ranks - 1) * shares.of(rank)});
  }
  return most * bytes_of(point.dtype);
}

}  // namespace cohort::gpu_bench
