#include "collectives/path_table.hpp"

#include "collectives/call.hpp"

namespace cohort::collectives {

namespace {

PathChoice choose_supported(const PathTable& table, const PathInputs& inputs) noexcept {
  if (inputs.group_size == 1) return {Path::local, Reason::group_size_one};
  if (inputs.symmetry == Symmetry::off) return {Path::host_staged, Reason::disabled};
  if (inputs.operands != Reason::ok) return {Path::host_staged, inputs.operands};
  return table.choose(inputs.op, inputs.group_size, inputs.crowded, inputs.bytes, inputs.memory);
}

}  // namespace

PathChoice choose_path(const PathTable& table, const PathInputs& inputs) noexcept {
  PathChoice choice = choose_supported(table, inputs);
  if (is_reduction(inputs.op) && !is_reducible(inputs.dtype)) {
    choice.reason = Reason::dtype_unsupported;
  }
  return choice;
}

}  // namespace cohort::collectives
