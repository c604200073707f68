#include <string>

#include <cohort/error.hpp>
#include <cohort/session.hpp>

#include "session/session_state.hpp"

namespace cohort {

using collectives::Call;

namespace {

Call call_of(Op op, ConstTensor input, Tensor output, Lane lane, Stream stream) {
  Call call;
  call.op = op;
  call.dtype = input.dtype;
  call.lane = lane;
  call.input = input;
  call.output = output;
  call.stream = stream.handle;
  return call;
}

Call call_of(Op op, ConstTensor input, Tensor output, DeviceCounts counts, Lane lane,
             Stream stream) {
  Call call = call_of(op, input, output, lane, stream);
  call.device_counts = counts.data;
  return call;
}

}  // namespace

void Group::require_device_counts(DeviceCounts counts, Op op) const {
  const std::string name(to_string(op));
  if (state_->plan().options().memory == Memory::host) {
    throw Error(ErrorCode::usage, name + " on host memory takes no counts on a device",
                std::nullopt, name);
  }
  if (counts.data == nullptr) {
    throw Error(ErrorCode::usage, name + " with counts on the device that are null", std::nullopt,
                name);
  }
}

WorldRank Group::to_world(GroupRank rank) const {
  if (rank.index() >= ranks_.size()) {
    throw Error(ErrorCode::usage, "group rank " + std::to_string(rank.index()) + " in a group of " +
                                      std::to_string(ranks_.size()));
  }
  return ranks_[rank.index()];
}

Group Group::on(Stream stream) const {
  if (state_->plan().options().memory == Memory::host) {
    throw Error(ErrorCode::usage, "calls on host memory take no stream", std::nullopt, "on");
  }
  Group group = *this;
  group.stream_ = stream;
  return group;
}

Verdict Group::all_reduce(Tensor operand, ReduceOp op, Lane lane) const {
  return all_reduce(operand, operand, op, lane);
}

Verdict Group::all_reduce(ConstTensor input, Tensor output, ReduceOp op, Lane lane) const {
  Call call = call_of(Op::all_reduce, input, output, lane, stream_);
  call.reduce_op = op;
  return state_->run(kind_, call);
}

Verdict Group::all_gather(ConstTensor input, Tensor output, Lane lane) const {
  return state_->run(kind_, call_of(Op::all_gather, input, output, lane, stream_));
}

Verdict Group::all_gatherv(ConstTensor input, Tensor output, std::span<const std::size_t> counts,
                           Lane lane) const {
  Call call = call_of(Op::all_gatherv, input, output, lane, stream_);
  call.counts = counts;
  return state_->run(kind_, call);
}

Verdict Group::all_gatherv(ConstTensor input, Tensor output, DeviceCounts counts, Lane lane) const {
  require_device_counts(counts, Op::all_gatherv);
  return state_->run(kind_, call_of(Op::all_gather, input, output, counts, lane, stream_));
}

Verdict Group::reduce_scatterv(ConstTensor input, Tensor output, DeviceCounts counts, ReduceOp op,
                               Lane lane) const {
  require_device_counts(counts, Op::reduce_scatterv);
  Call call = call_of(Op::reduce_scatter, input, output, counts, lane, stream_);
  call.reduce_op = op;
  return state_->run(kind_, call);
}

Verdict Group::all_to_allv(ConstTensor input, Tensor output, DeviceCounts counts, Lane lane) const {
  require_device_counts(counts, Op::all_to_allv);
  return state_->run(kind_, call_of(Op::all_to_all, input, output, counts, lane, stream_));
}

Verdict Group::reduce_scatter(ConstTensor input, Tensor output, ReduceOp op, Lane lane) const {
  Call call = call_of(Op::reduce_scatter, input, output, lane, stream_);
  call.reduce_op = op;
  return state_->run(kind_, call);
}

Verdict Group::reduce_scatterv(ConstTensor input, Tensor output,
                               std::span<const std::size_t> counts, ReduceOp op, Lane lane) const {
  Call call = call_of(Op::reduce_scatterv, input, output, lane, stream_);
  call.reduce_op = op;
  call.counts = counts;
  return state_->run(kind_, call);
}

Verdict Group::all_reduce_rms_norm(Tensor operand, const RmsNorm& norm, Lane lane) const {
  Call call = call_of(Op::all_reduce, operand, operand, lane, stream_);
  call.norm = &norm;
  return state_->run(kind_, call);
}

Verdict Group::reduce_scatter_rms_norm(ConstTensor input, Tensor output, const RmsNorm& norm,
                                       Lane lane) const {
  Call call = call_of(Op::reduce_scatter, input, output, lane, stream_);
  call.norm = &norm;
  return state_->run(kind_, call);
}

Verdict Group::reduce_scatterv_rms_norm(ConstTensor input, Tensor output,
                                        std::span<const std::size_t> counts, const RmsNorm& norm,
                                        Lane lane) const {
  Call call = call_of(Op::reduce_scatterv, input, output, lane, stream_);
  call.counts = counts;
  call.norm = &norm;
  return state_->run(kind_, call);
}

Verdict Group::all_to_all(ConstTensor input, Tensor output, Lane lane) const {
  return state_->run(kind_, call_of(Op::all_to_all, input, output, lane, stream_));
}

Verdict Group::all_to_allv(ConstTensor input, Tensor output, std::span<const std::size_t> counts,
                           Lane lane) const {
  Call call = call_of(Op::all_to_allv, input, output, lane, stream_);
  call.counts = counts;
  return state_->run(kind_, call);
}

Verdict Group::broadcast(Tensor operand, GroupRank root, Lane lane) const {
  Call call = call_of(Op::broadcast, operand, operand, lane, stream_);
  call.root = root;
  return state_->run(kind_, call);
}

Verdict Group::send(ConstTensor input, GroupRank to, Lane lane) const {
  Call call = call_of(Op::send, input, {nullptr, 0, input.dtype}, lane, stream_);
  call.root = rank_;
  call.to = to;
  return state_->run(kind_, call);
}

Verdict Group::recv(Tensor output, GroupRank from, Lane lane) const {
  Call call = call_of(Op::recv, {nullptr, 0, output.dtype}, output, lane, stream_);
  call.root = from;
  call.to = rank_;
  return state_->run(kind_, call);
}

Verdict Group::barrier(Lane lane) const {
  return state_->run(kind_, call_of(Op::barrier, {}, {}, lane, stream_));
}

}  // namespace cohort
