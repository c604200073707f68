#pragma once

// One collective call as its caller states it.

#include <cstddef>
#include <span>

#include <cohort/dtype.hpp>
#include <cohort/ids.hpp>
#include <cohort/tensor.hpp>
#include <cohort/verdict.hpp>

namespace cohort::collectives {

struct Call {
  Op op = Op::barrier;
  ReduceOp reduce_op = ReduceOp::sum;  ///< of the reductions
  DType dtype = DType::f32;
  GroupRank root;  ///< of broadcast
  Lane lane;
  ConstTensor input;                    ///< what peers read
  Tensor output;                        ///< where the result goes
  std::span<const std::size_t> counts;  ///< elements by member, of the v-forms
};

constexpr bool is_reduction(Op op) noexcept {
  return op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
}

constexpr bool has_counts(Op op) noexcept {
  return op == Op::all_gatherv || op == Op::reduce_scatterv;
}

}  // namespace cohort::collectives
