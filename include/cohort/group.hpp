#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <cohort/device_counts.hpp>
#include <cohort/export.hpp>
#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/rms_norm.hpp>
#include <cohort/stream.hpp>
#include <cohort/tensor.hpp>
#include <cohort/verdict.hpp>

namespace cohort {

class SessionState;

/// The instance of one group kind that this rank belongs to; collectives start here. A handle:
/// cheap to copy, must not outlive its session.
///
/// Every collective: all members call it in the same order per lane with equal arguments. Headers
/// are compared in every call; a difference ends the job with Error{mismatch} that shows both
/// sides. A refusal found on one rank (slot not planned for this group, operand too large to stage)
/// is Error{usage} on all members, and the session lives on.
/// After a call, operands in the heap are shared: peers may still be reading them. They are read
/// only until the entry is taken again; a later call that overwrites them waits by itself.
/// Throws, all of them: Error{mismatch, usage, strict_miss, timeout, peer_failed}.
///
/// On CUDA memory a call is put into a stream (`on`, else the default stream) and returns; results
/// are there once `Session::wait` has returned for that stream, which also throws what went wrong:
/// outputs of a call that failed are NaN, or all ones for integers. Calls can be captured into
/// graphs. What one rank refuses it throws at once; ranks that have made the call get its Error
/// with their next call of the group and lane, which is made all the same, or with `wait`, once.
/// What the call would have brought from the rank that refused is NaN or all ones, and the session
/// lives on; only where that rank cannot take part without operands (the call is on NCCL, captured
/// by one and launched by another, or of other counts) does the refusal end the job. As ever, all
/// members go on with the same calls. A lane is ordered by its stream: whoever goes on with a lane
/// in another stream orders the two streams, as for any two kernels that use the same memory. Work
/// that runs beside other work takes a lane of its own.
class COHORT_EXPORT Group {
 public:
  GroupKind kind() const noexcept { return kind_; }
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(ranks_.size()); }
  GroupRank rank() const noexcept { return rank_; }
  std::span<const WorldRank> ranks() const noexcept { return ranks_; }
  /// World rank of a member. Throws: Error{usage} past the group's size.
  WorldRank to_world(GroupRank rank) const;
  /// The same group, whose calls go into `stream`. Local. Throws: Error{usage} on host memory.
  Group on(Stream stream) const;
  Stream stream() const noexcept { return stream_; }

  /// Reduces element-wise; the same bits on every rank: f32 sums in group-rank order, rounded once.
  /// Collective. In place when both operands are the same memory.
  /// Cost: 2 (P - 1) / P operands read from peers, two waits; one wait on path host_inline.
  Verdict all_reduce(Tensor operand, ReduceOp op, Lane lane = {}) const;
  Verdict all_reduce(ConstTensor input, Tensor output, ReduceOp op, Lane lane = {}) const;

  /// `output` = every member's `input` in group-rank order; output.elements = size *
  /// input.elements. Collective. In place when `input` is this rank's part of `output`. Cost: P - 1
  /// operands read from peers, one wait.
  Verdict all_gather(ConstTensor input, Tensor output, Lane lane = {}) const;

  /// The same with `counts[i]` elements from member i; zeros are fine. `counts` equal on all ranks.
  Verdict all_gatherv(ConstTensor input, Tensor output, std::span<const std::size_t> counts,
                      Lane lane = {}) const;

  /// The same on CUDA memory with counts that lie on the device, for graphs whose rows change.
  /// Parts may have up to input.elements elements each, and `output` has room for as many of every
  /// member; what lies behind the parts, which are packed, is not said. Never in place.
  /// The ledger counts bytes as if parts were as large as they may be. Host memory has no such
  /// form: Error{usage}.
  Verdict all_gatherv(ConstTensor input, Tensor output, DeviceCounts counts, Lane lane = {}) const;

  /// Reduces and leaves part i on member i; input.elements = size * output.elements.
  /// Collective. In place when `output` is this rank's part of `input`.
  /// Cost: P - 1 parts read from peers, one wait.
  Verdict reduce_scatter(ConstTensor input, Tensor output, ReduceOp op, Lane lane = {}) const;

  /// The same with `counts[i]` elements for member i; zeros are fine.
  Verdict reduce_scatterv(ConstTensor input, Tensor output, std::span<const std::size_t> counts,
                          ReduceOp op, Lane lane = {}) const;

  /// The same with counts on the device: parts have up to output.elements elements each, and
  /// `input` has room for as many of every member. Never in place.
  Verdict reduce_scatterv(ConstTensor input, Tensor output, DeviceCounts counts, ReduceOp op,
                          Lane lane = {}) const;

  /// Sums as `all_reduce`, and norms each row of the sum: the bits of one after the other. On CUDA
  /// memory one kernel does both where that is faster; what `operand` holds afterwards is then not
  /// said. Collective.
  Verdict all_reduce_rms_norm(Tensor operand, const RmsNorm& norm, Lane lane = {}) const;

  /// The same with `reduce_scatter`, of this rank's rows; nor is it said what `output` holds.
  Verdict reduce_scatter_rms_norm(ConstTensor input, Tensor output, const RmsNorm& norm,
                                  Lane lane = {}) const;

  /// The same with `reduce_scatterv`; `counts` are whole rows.
  Verdict reduce_scatterv_rms_norm(ConstTensor input, Tensor output,
                                   std::span<const std::size_t> counts, const RmsNorm& norm,
                                   Lane lane = {}) const;

  /// Part j of `input` goes to member j, part i of `output` comes from member i; equal parts, and
  /// as many elements in as out. Collective. Never in place: `input` and `output` must not overlap.
  /// Cost: P - 1 parts read from peers, one wait.
  Verdict all_to_all(ConstTensor input, Tensor output, Lane lane = {}) const;

  /// The same with `counts[i * size + j]` elements from member i to member j; zeros are fine.
  /// `input` holds this rank's row of parts, `output` its column, both packed in member order.
  /// `counts` equal on all ranks.
  Verdict all_to_allv(ConstTensor input, Tensor output, std::span<const std::size_t> counts,
                      Lane lane = {}) const;

  /// The same with counts on the device: parts have up to input.elements / size elements each, and
  /// `output` is as large as `input`.
  Verdict all_to_allv(ConstTensor input, Tensor output, DeviceCounts counts, Lane lane = {}) const;

  /// Copies the root's operand to every member. Collective. Cost: one operand read, one wait; where
  /// ranks are bound to several memory nodes, each node reads the root's operand once and its first
  /// member passes it on.
  Verdict broadcast(Tensor operand, GroupRank root, Lane lane = {}) const;

  /// Sends `input` to one other member, which calls `recv` with as many elements of the same type.
  /// One-way: returns once the message can be read, except that it first waits until the receiver
  /// has the last message but one to it on this lane, and, for operands outside the arena, until
  /// the last but one of those has been received by whichever member it went to. Messages of a pair
  /// of ranks and a lane arrive in order, whatever else happens on the lane. Local but for those
  /// waits.
  /// An operand in the heap is shared until its entry is taken again, which waits for the receiver.
  /// So does a call that writes into any part of that entry: in a ring of messages every rank
  /// receives into another entry than it sends from.
  /// Throws, besides the above: Error{usage} if the plan has no `send_recv` for the group; what the
  /// receiver had against an earlier message (this one has been sent then).
  /// Cost: nothing is copied from the heap above the limit of host_inline.
  Verdict send(ConstTensor input, GroupRank to, Lane lane = {}) const;

  /// Receives the next message of member `from` on this lane. Waits for it.
  /// Cost: one operand read, one wait.
  Verdict recv(Tensor output, GroupRank from, Lane lane = {}) const;

  /// Returns once every member has called it. Collective.
  Verdict barrier(Lane lane = {}) const;

 private:
  void require_device_counts(DeviceCounts counts, Op op) const;
  friend class SessionState;
  SessionState* state_ = nullptr;
  std::span<const WorldRank> ranks_;
  Stream stream_;
  GroupRank rank_;
  GroupKind kind_ = GroupKind::world;
};

}  // namespace cohort
