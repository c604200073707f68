#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/counted.cuh"
#include "collectives/cuda/kernels/counted.hpp"
#include "collectives/cuda/kernels/launch.hpp"

namespace cohort::cuda {

namespace {

const void* find_kernel(Op op, ReduceOp reduce_op, DType dtype, int members) {
  if (!is_reduction_call(op)) return find_counted_move(members);
  const bool is_float = dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
  return is_float && reduce_op == ReduceOp::sum ? find_counted_sum(dtype, members)
                                                : find_counted_order(dtype, members);
}

template <int MEMBERS>
Status launch_for(const KernelCall& call) {
  const void* kernel = find_kernel(call.op, call.reduce_op, call.dtype, MEMBERS);
  if (kernel == nullptr) {
    return failure(Status::Code::usage, "launch: no kernel with counts for type %d",
                   static_cast<int>(call.dtype));
  }
  Args<MEMBERS> args = make_args<MEMBERS>(call, kLineBytes);
  CountedArgs counted{};
  counted.shape = {call.op,    call.members.count, static_cast<std::uint32_t>(bytes_of(call.dtype)),
                   call.first, call.bytes,         call.most};
  counted.counts = reinterpret_cast<const std::uint64_t*>(call.device_counts);
  counted.input = reinterpret_cast<char*>(call.input);
  counted.output = reinterpret_cast<char*>(call.output);
  void* parameters[] = {&args, &counted};
  return launch_kernel(kernel, call, parameters);
}

}  // namespace

Status load_counted_kernels() {
  for (const int members : {2, 8, 64}) {
    Status status = load_kernel(find_counted_move(members));
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      if (is_ok(status)) status = load_kernel(find_counted_sum(dtype, members));
    }
    for (const DType dtype : {DType::f32, DType::i32}) {
      if (is_ok(status)) status = load_kernel(find_counted_order(dtype, members));
    }
    if (!is_ok(status)) return status;
  }
  return succeeded();
}

Status launch_counted(const KernelCall& call) {
  if (Status status = check_call(call, true); !is_ok(status)) return status;
  if (call.op != Op::all_gather && call.op != Op::reduce_scatter && call.op != Op::all_to_all) {
    return failure(Status::Code::usage, "launch: no counts of operation %d on the device",
                   static_cast<int>(call.op));
  }
  if (call.threads % 64 != 0 || call.device_counts % sizeof(std::uint64_t) != 0) {
    return failure(Status::Code::usage, "launch: counts at %llx, %u threads",
                   static_cast<unsigned long long>(call.device_counts), call.threads);
  }
  if (call.members.count == 2) return launch_for<2>(call);
  return call.members.count <= 8 ? launch_for<8>(call) : launch_for<kMembersMax>(call);
}

}  // namespace cohort::cuda
