#pragma once

// One collective call as its caller states it.

#include <cstddef>
#include <cstdint>
#include <span>

#include <cohort/dtype.hpp>
#include <cohort/ids.hpp>
#include <cohort/rms_norm.hpp>
#include <cohort/tensor.hpp>
#include <cohort/verdict.hpp>

namespace cohort::collectives {

struct Call {
  Op op = Op::barrier;
  ReduceOp reduce_op = ReduceOp::sum;  ///< of the reductions
  DType dtype = DType::f32;
  GroupRank root;  ///< of broadcast; the sender, of send and recv
  GroupRank to;    ///< the receiver, of send and recv
  Lane lane;
  ConstTensor input;  ///< what peers read
  Tensor output;      ///< where the result goes
  /// Elements by member, of the v-forms; of all_to_allv row by row, from member i to member j.
  std::span<const std::size_t> counts;
  /// Of the v-forms with counts on the device, whose `op` is the form with equal parts: operands
  /// are planned for parts that are all as large as the largest may be.
  const std::uint64_t* device_counts = nullptr;
  void* stream = nullptr;         ///< of calls on GPU memory
  const RmsNorm* norm = nullptr;  ///< of the output's rows, behind a sum
  /// What a session does for itself: on paths of its own, whatever the table says.
  bool on_own_paths = false;
};

constexpr bool is_reduction(Op op) noexcept {
  return op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
}

constexpr bool has_counts(Op op) noexcept {
  return op == Op::all_gatherv || op == Op::reduce_scatterv || op == Op::all_to_allv;
}

/// What the call is to its caller.
constexpr Op named_op(const Call& call) noexcept {
  if (call.device_counts == nullptr) return call.op;
  switch (call.op) {
    case Op::all_gather: return Op::all_gatherv;
    case Op::reduce_scatter: return Op::reduce_scatterv;
    case Op::all_to_all: return Op::all_to_allv;
    default: return call.op;
  }
}

/// Between two members only, with a sequence of their own.
constexpr bool is_message(Op op) noexcept {
  return op == Op::send || op == Op::recv;
}

constexpr bool is_all_to_all(Op op) noexcept {
  return op == Op::all_to_all || op == Op::all_to_allv;
}

}  // namespace cohort::collectives
