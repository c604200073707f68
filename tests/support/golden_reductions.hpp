#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

namespace cohort::test {

/// Operands of one reduction and its exact results, as bytes in the machine's order.
struct GoldenReduction {
  DType dtype = DType::f32;
  std::size_t elements = 0;
  std::vector<std::vector<std::byte>> operands;  // (operand, elements * bytes_of(dtype))
  std::vector<std::byte> sum;
  std::vector<std::byte> min;
  std::vector<std::byte> max;

  const std::vector<std::byte>& result(ReduceOp op) const;
  /// For messages, e.g. "bf16, 3 operands".
  std::string name() const;
};

/// Every case of tests/collectives/golden/reductions.txt, read once: 1 to 8 operands of each type.
/// Throws: std::runtime_error naming the line that cannot be read.
const std::vector<GoldenReduction>& golden_reductions();

}  // namespace cohort::test
