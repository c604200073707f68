#pragma once

#include <cstddef>

#include <cohort/ids.hpp>
#include <cohort/layer_communicator.hpp>
#include <cohort/session.hpp>

#include "base/function_ref.hpp"
#include "engine/plan_slots.hpp"
#include "engine/schedule.hpp"
#include "engine/token_exchange.hpp"
#include "model/llama.hpp"

namespace cohort {

/// What a run took, on this rank's clock.
struct EngineTiming {
  double prefill_s = 0;
  double decode_s = 0;
  std::size_t prefill_tokens = 0;  // of all replicas
  std::size_t decode_tokens = 0;   // chosen in decode steps, of all replicas
};

/// Serves requests: runs the schedule's steps on one rank. Each rank of the world has one, with the
/// same requests, and they step together.
class Engine {
 public:
  /// `session` and `decoder` must outlive this. Local.
  Engine(Session& session, LlamaDecoder& decoder, const EngineSlots& slots, WorldRank rank);

  /// Called on every rank for every token of every replica, in the same order.
  using TokenSink = FunctionRef<void(const TokenOutcome&)>;

  /// Runs until all requests are finished. Collective over all ranks.
  EngineTiming run(Schedule& schedule, TokenPicker pick, TokenSink sink);

 private:
  void run_step(Schedule& schedule, const StepRows& rows, TokenPicker pick, TokenSink sink);

  const Layout& layout_;
  LlamaDecoder& decoder_;
  WorldRank rank_;
  LayerCommunicator communicator_;
  TokenExchange exchange_;
};

}  // namespace cohort
