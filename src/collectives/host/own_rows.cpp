// What a rank does in its own memory.

#include "collectives/host/host_executor.hpp"
#include "collectives/local_move.hpp"

namespace cohort::host {

void HostExecutor::move(std::span<const LocalMove> moves, void* stream) {
  if (stream != nullptr) wait(stream);
  collectives::check_moves(moves);
  collectives::move_on_host(moves);
}

}  // namespace cohort::host
