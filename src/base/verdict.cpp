#include <ostream>

#include <cohort/memory.hpp>
#include <cohort/verdict.hpp>

namespace cohort {

std::string_view to_string(Op op) noexcept {
  switch (op) {
    case Op::all_reduce: return "all_reduce";
    case Op::all_gather: return "all_gather";
    case Op::all_gatherv: return "all_gatherv";
    case Op::reduce_scatter: return "reduce_scatter";
    case Op::reduce_scatterv: return "reduce_scatterv";
    case Op::broadcast: return "broadcast";
    case Op::barrier: return "barrier";
    case Op::all_to_all: return "all_to_all";
    case Op::all_to_allv: return "all_to_allv";
    case Op::send: return "send";
    case Op::recv: return "recv";
  }
  return "unknown";
}

std::string_view to_string(ReduceOp op) noexcept {
  switch (op) {
    case ReduceOp::sum: return "sum";
    case ReduceOp::min: return "min";
    case ReduceOp::max: return "max";
  }
  return "unknown";
}

std::string_view to_string(Path path) noexcept {
  switch (path) {
    case Path::local: return "local";
    case Path::host_inline: return "host_inline";
    case Path::host_direct: return "host_direct";
    case Path::host_staged: return "host_staged";
    case Path::gpu_ll: return "gpu_ll";
    case Path::gpu_lamport: return "gpu_lamport";
    case Path::gpu_two_shot: return "gpu_two_shot";
    case Path::nccl_symmetric: return "nccl_symmetric";
    case Path::nccl_plain: return "nccl_plain";
  }
  return "unknown";
}

std::string_view to_string(Memory memory) noexcept {
  return memory == Memory::host ? "host" : "cuda";
}

std::string_view to_string(Reason reason) noexcept {
  switch (reason) {
    case Reason::ok: return "ok";
    case Reason::group_size_one: return "group_size_one";
    case Reason::disabled: return "disabled";
    case Reason::operand_not_in_heap: return "operand_not_in_heap";
    case Reason::dtype_unsupported: return "dtype_unsupported";
    case Reason::over_budget: return "over_budget";
    case Reason::over_inline_limit: return "over_inline_limit";
    case Reason::op_unsupported: return "op_unsupported";
    case Reason::nccl_version_refused: return "nccl_version_refused";
    case Reason::operand_misaligned: return "operand_misaligned";
  }
  return "unknown";
}

std::string_view explain(Reason reason) noexcept {
  switch (reason) {
    case Reason::ok: return "the path that the agreed table promises";
    case Reason::group_size_one: return "the group has one rank, so there is nothing to exchange";
    case Reason::disabled:
      return "symmetric memory is switched off, so every operand was copied into staging first; "
             "switch it on to read operands where they lie";
    case Reason::operand_not_in_heap:
      return "the operand lies outside the arena, so it was copied into staging first, or did not "
             "go "
             "to NCCL's symmetric kernels; take it from a planned slot";
    case Reason::dtype_unsupported:
      return "elements of this type are moved but never reduced; convert them first";
    case Reason::over_budget:
      return "the operand lies in a scope's block that its pool had no room for, so every operand "
             "was copied into staging first; plan a larger pool (generate: --pool)";
    case Reason::over_inline_limit:
      return "the pinned path takes small operands only (host_inline: what travels with a header; "
             "gpu_ll: 4 KiB), so this one took the path for larger ones; pin no path, or send less "
             "at once";
    case Reason::op_unsupported:
      return "the pinned path is none for this operation, which took another one; pin no path";
    case Reason::nccl_version_refused:
      return "NCCL was to take the call, but its version, its environment or the group's devices "
             "rule "
             "that out, so it took a path of our own; the log of commit says which of them";
    case Reason::operand_misaligned:
      return "NCCL was to take the call, but an operand begins at, or a member's part has, no "
             "multiple of 4 bytes, for which its symmetric kernels give wrong results, so it took "
             "a path of our own; pad the operand";
  }
  return "unknown";
}

std::ostream& operator<<(std::ostream& stream, const Verdict& verdict) {
  return stream << to_string(verdict.path) << ", " << to_string(verdict.reason) << " ("
                << explain(verdict.reason) << "), " << verdict.copied_bytes << " bytes copied";
}

}  // namespace cohort
