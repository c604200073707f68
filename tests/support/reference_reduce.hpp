#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

namespace cohort::test {

/// The plainest reduction that keeps the promises about order and bits: one element after another,
/// one operand after another. What every fast path is compared with.
/// Requires: one operand or more, all of the same size; a reducible type.
std::vector<std::byte> reference_reduce(std::span<const std::vector<std::byte>> operands,
                                        DType dtype, ReduceOp op);

}  // namespace cohort::test
