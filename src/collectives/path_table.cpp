#include "collectives/path_table.hpp"

#include "collectives/call.hpp"
#include "heap/arena_layout.hpp"

namespace cohort::collectives {

std::size_t inline_bytes_max(Op op) noexcept {
  // An inline operand is written once more by its owner, into lines that its peers' caches hold. It
  // saves the second wait of an all_reduce in place, and a message that travelled with its header
  // leaves its entry free before anybody receives it.
  switch (op) {
    case Op::all_reduce:
    case Op::send:
    case Op::recv: return 4 * 1024;
    case Op::barrier: return 0;
    default: return 1024;
  }
}

namespace {

PathChoice choose_supported(const PathInputs& inputs) noexcept {
  if (inputs.group_size == 1) return {Path::local, Reason::group_size_one};
  if (inputs.symmetry == Symmetry::off) return {Path::host_staged, Reason::disabled};
  if (inputs.operands != Reason::ok) return {Path::host_staged, inputs.operands};
  static_assert(heap::kInlineBytesMax >= 8 * 1024);
  if (inputs.bytes <= inline_bytes_max(inputs.op)) return {Path::host_inline, Reason::ok};
  return {Path::host_direct, Reason::ok};
}

}  // namespace

PathChoice choose_path(const PathInputs& inputs) noexcept {
  PathChoice choice = choose_supported(inputs);
  if (is_reduction(inputs.op) && !is_reducible(inputs.dtype)) {
    choice.reason = Reason::dtype_unsupported;
  }
  return choice;
}

}  // namespace cohort::collectives
