// Calls that equal earlier ones, as the executor makes them.

#include <cohort/error.hpp>

#include "collectives/cuda/cuda_executor.hpp"

namespace cohort::cuda {

MadeCall* CudaExecutor::find_made(Channel& channel, const collectives::Call& call) {
  MadeCall* const made = channel.kept.find(call);
  if (made == nullptr || made->pools_changed == pools_changed()) return made;
  // What was a live block then may be none now.
  if (find_fault(channel, call, made->kernel)) return nullptr;
  made->pools_changed = pools_changed();
  return made;
}

/// As `launch` does it, but for what it found out then.
Verdict CudaExecutor::launch_again(Channel& channel, MadeCall& made, void* stream) {
  const bool captured = is_captured(stream);
  announce(channel, made.record, captured ? Made::captured : Made::launched);
  channel.notes[channel.self]->noted(made.kernel.hash).store(made.record);
  made.kernel.stream = stream;
  if (!captured) ++channel.launched;
  try {
    rank_.device.launch(made.kernel);
  } catch (const Error& error) {
    rank_.domain.fail(error);  // peers that have launched it wait in vain
  }
  if (!captured) throw_refusal(channel, to_string(made.call.op));
  return {made.choice.path, made.choice.reason, 0};
}

}  // namespace cohort::cuda
