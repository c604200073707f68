#include <initializer_list>

#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/args.cuh"
#include "collectives/cuda/kernels/launch.hpp"
#include "collectives/cuda/kernels/split.hpp"

namespace cohort::cuda {

namespace {

const void* find_kernel(const SplitKey& key) {
  if (!is_reduction_call(key.op)) return find_split_move(key);
  const bool is_float =
      key.dtype == DType::f32 || key.dtype == DType::bf16 || key.dtype == DType::f16;
  return is_float && key.reduce_op == ReduceOp::sum ? find_split_sum(key) : find_split_order(key);
}

template <int MEMBERS>
Status launch_for(const KernelCall& call) {
  const void* kernel =
      find_kernel({call.op, call.reduce_op, call.dtype, call.lines_per_thread, MEMBERS});
  if (kernel == nullptr) {
    return failure(Status::Code::usage, "no split kernel for type %d with %u lines a thread",
                   static_cast<int>(call.dtype), call.lines_per_thread);
  }
  Args<MEMBERS> args = make_args<MEMBERS>(call, kLineBytes);
  void* parameters[] = {&args};
  return launch_kernel(kernel, call, parameters);
}

template <class Find>
Status load(Find find, std::initializer_list<DType> dtypes) {
  for (const DType dtype : dtypes) {
    for (const int members : {2, 8, 64}) {
      for (const std::uint32_t lines : {1U, 2U}) {
        const void* kernel = find(SplitKey{Op::all_reduce, ReduceOp::sum, dtype, lines, members});
        if (kernel == nullptr) continue;
        if (Status status = load_kernel(kernel); !is_ok(status)) return status;
      }
    }
  }
  return succeeded();
}

}  // namespace

Status load_split_kernels() {
  Status status = load(find_split_sum, {DType::f32, DType::bf16, DType::f16});
  if (is_ok(status)) status = load(find_split_order, {DType::f32, DType::i32});
  if (is_ok(status)) status = load(find_split_move, {DType::u8});
  return status;
}

Status launch_split(const KernelCall& call) {
  if (Status status = check_call(call, true); !is_ok(status)) return status;
  if (call.threads % 128 != 0) {
    return failure(Status::Code::usage, "launch: split takes a multiple of 128 threads, not %u",
                   call.threads);
  }
  if (call.members.count == 2) return launch_for<2>(call);
  return call.members.count <= 8 ? launch_for<8>(call) : launch_for<kMembersMax>(call);
}

}  // namespace cohort::cuda
