// What a rank does in its own memory.

#include "collectives/host/host_executor.hpp"
#include "collectives/local_move.hpp"
#include "collectives/rms_norm.hpp"

namespace cohort::host {

void HostExecutor::move(std::span<const LocalMove> moves, void* stream) {
  if (stream != nullptr) wait(stream);
  collectives::check_moves(moves);
  collectives::move_on_host(moves);
}

void HostExecutor::norm(ConstTensor input, const RmsNorm& norm, void* stream) {
  if (stream != nullptr) wait(stream);
  collectives::require_norm(norm, input);
  collectives::norm_on_host(norm, input.data);
}

}  // namespace cohort::host
