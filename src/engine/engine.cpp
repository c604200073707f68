#include "engine/engine.hpp"

#include <chrono>
#include <optional>
#include <vector>

#include "base/log.hpp"
#include "engine/step_rows.hpp"

namespace cohort {

Engine::Engine(Session& session, LlamaDecoder& decoder, const EngineSlots& slots, WorldRank rank)
    : layout_(session.plan().layout()),
      decoder_(decoder),
      rank_(rank),
      communicator_(session, slots.layers, rank),
      exchange_(session, slots, rank) {}

EngineTiming Engine::run(Schedule& schedule, TokenPicker pick, TokenSink sink) {
  using Clock = std::chrono::steady_clock;
  EngineTiming timing;
  std::optional<bool> was_prefill;
  while (const auto step = schedule.next()) {
    if (was_prefill != step->prefill) log(LogLevel::info, step->prefill ? "prefill" : "decode");
    was_prefill = step->prefill;
    const auto begin = Clock::now();
    const StepRows rows = step_rows(layout_, rank_, schedule, *step);
    run_step(schedule, rows, pick, sink);
    const double step_s = std::chrono::duration<double>(Clock::now() - begin).count();
    (step->prefill ? timing.prefill_s : timing.decode_s) += step_s;
    (step->prefill ? timing.prefill_tokens : timing.decode_tokens) += rows.rows.total();
  }
  return timing;
}

void Engine::run_step(Schedule& schedule, const StepRows& rows, TokenPicker pick, TokenSink sink) {
  communicator_.begin_step(rows.rows, rows.last_rows);
  const float* logits = decoder_.step(rows.view(), communicator_);
  if (rows.requests.empty()) return;
  const LogitsPart part{logits, decoder_.vocabulary_begin(), decoder_.vocabulary_count()};
  const std::vector<TokenId> tokens = exchange_.choose(rows, part, pick);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const TokenOutcome outcome = schedule.take({rows.requests[i], tokens[i]});
    if (outcome.finished && schedule.replica_of(outcome.request) == layout_.attn_dp_rank(rank_)) {
      decoder_.release(outcome.freed_sequence);
    }
    sink(outcome);
  }
}

}  // namespace cohort
