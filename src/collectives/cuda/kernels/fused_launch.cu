#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/fused.cuh"
#include "collectives/cuda/kernels/fused.hpp"
#include "collectives/cuda/kernels/fused_pair.cuh"
#include "collectives/cuda/kernels/launch.hpp"

namespace cohort::cuda {

namespace {

Status usage(const char* what) {
  return failure(Status::Code::usage, "launch_fused: %s", what);
}

/// Whether all members' rows are whole ones.
bool are_whole_rows(const KernelCall& call, std::uint64_t row_bytes) {
  if (call.op != Op::reduce_scatterv) return call.bytes % row_bytes == 0;
  for (std::uint32_t member = 0; member < call.members.count; ++member) {
    if (call.counts[member] % row_bytes != 0) return false;
  }
  return true;
}

Status check_fused(const FusedCall& fused) {
  const KernelCall& call = fused.call;
  if (Status status = check_norm(fused.norm); !is_ok(status)) return status;
  if (call.op != Op::all_reduce && call.op != Op::reduce_scatter &&
      call.op != Op::reduce_scatterv) {
    return usage("a norm goes behind all_reduce or reduce_scatter only");
  }
  if (call.reduce_op != ReduceOp::sum || call.dtype != fused.norm.dtype) {
    return usage("the collective is a sum of the norm's type");
  }
  if (call.algorithm != Algorithm::once || call.protocol != Protocol::sentinel) {
    return usage("the algorithm is once, with sentinels");
  }
  const NormShape shape = norm_shape(fused.norm.hidden);
  if (call.threads != shape.threads || call.lines_per_thread != shape.lines_per_thread) {
    return usage("threads and lines a thread follow from the row's length");
  }
  if (fused.blocks_per_row == 0 || call.blocks % fused.blocks_per_row != 0) {
    return usage("the blocks are not a multiple of those of a row");
  }
  if (!are_whole_rows(call, std::uint64_t{fused.norm.hidden} * bytes_of(call.dtype))) {
    return usage("the operand is not made of whole rows");
  }
  if (call.input % kLineBytes != 0) return usage("the input is not aligned to 16 bytes");
  return check_call(call, true);
}

template <int MEMBERS>
Status launch_for(const FusedCall& fused) {
  const KernelCall& call = fused.call;
  const FusedKey key{call.op != Op::all_reduce, call.lines_per_thread, MEMBERS, false};
  const void* kernel = call.dtype == DType::bf16 ? find_fused_bf16(key) : find_fused_f16(key);
  FusedArgs<MEMBERS> args{make_args<MEMBERS>(call, kLineBytes), make_norm_args(fused.norm),
                          fused.blocks_per_row};
  void* parameters[] = {&args};
  return launch_kernel(kernel, call, parameters);
}

/// Who pushes a line is the same as in `fused`, so that each device decides for itself which of
/// the two it takes.
Status launch_pair(const FusedCall& fused) {
  KernelCall call = fused.call;
  const FusedKey key{call.op != Op::all_reduce, call.lines_per_thread, 2, true};
  const void* kernel = call.dtype == DType::bf16 ? find_fused_bf16(key) : find_fused_f16(key);
  FusedPairArgs args{};
  args.args = make_args<2>(call, kLineBytes);
  args.norm = make_norm_args(fused.norm);
  args.threads = call.threads;
  args.rows = args.args.call.in.lines / args.norm.lines;
  args.peer_rows = args.args.peer[0].in.lines / args.norm.lines;
  const std::uint32_t warps = call.threads / 32;
  call.threads = (warps + fused.blocks_per_row - 1) / fused.blocks_per_row * 32;
  void* parameters[] = {&args};
  return launch_kernel(kernel, call, parameters, fused.blocks_per_row);
}

}  // namespace

Status launch_fused(const FusedCall& fused) {
  if (Status status = check_fused(fused); !is_ok(status)) return status;
  const std::uint32_t members = fused.call.members.count;
  if (members == 2) {
    bool clusters = false;
    if (Status status = has_clusters(&clusters); !is_ok(status)) return status;
    const std::uint32_t most = clusters ? kClusterBlocksMax : 1;
    return fused.blocks_per_row <= most ? launch_pair(fused) : launch_for<2>(fused);
  }
  return members <= 8 ? launch_for<8>(fused) : launch_for<kMembersMax>(fused);
}

}  // namespace cohort::cuda
