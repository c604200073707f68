#include "engine/schedule.hpp"

#include <algorithm>
#include <string>

#include <cohort/error.hpp>

#include "base/assert.hpp"

namespace cohort {

namespace {

void check_request(const Request& request, std::size_t index, std::size_t context_tokens) {
  const std::string name = "prompt " + std::to_string(index + 1);
  if (request.prompt.empty()) {
    throw Error(ErrorCode::usage, name + " is empty: it has no token to begin with");
  }
  if (request.prompt.size() >= context_tokens) {
    throw Error(ErrorCode::usage, name + " has " + std::to_string(request.prompt.size()) +
                                      " tokens, but --context " + std::to_string(context_tokens) +
                                      " must hold it and at least one more; raise --context or "
                                      "shorten the prompt");
  }
  if (request.completion_tokens_max == 0) {
    throw Error(ErrorCode::usage, "--max-tokens must be at least 1, not 0");
  }
}

}  // namespace

Schedule::Schedule(std::span<const Request> requests, const ScheduleOptions& options)
    : requests_(requests),
      options_(options),
      states_(requests.size()),
      replicas_(options.replica_count) {
  for (std::size_t i = requests.size(); i-- > 0;) {
    check_request(requests[i], i, options_.maxima.context_tokens);
    replicas_[replica_of(i)].waiting.push_back(i);
  }
  for (Replica& replica : replicas_) {
    for (std::size_t i = options_.maxima.replica_sequences; i-- > 0;) {
      replica.free_sequences.push_back(i);
    }
  }
}

std::size_t Schedule::token_count(std::size_t request) const {
  return requests_[request].prompt.size() + states_[request].completion.size();
}

TokenId Schedule::token_at(std::size_t request, std::size_t position) const {
  const auto& prompt = requests_[request].prompt;
  if (position < prompt.size()) return prompt[position];
  return states_[request].completion.at(position - prompt.size());
}

void Schedule::admit(Replica& replica) {
  while (!replica.waiting.empty() && !replica.free_sequences.empty()) {
    const std::size_t request = replica.waiting.back();
    replica.waiting.pop_back();
    states_[request].sequence = replica.free_sequences.back();
    replica.free_sequences.pop_back();
    replica.running.push_back(request);
  }
}

std::vector<StepChunk> Schedule::prefill_chunks(const Replica& replica) {
  std::vector<StepChunk> chunks;
  std::size_t room = options_.maxima.step_tokens;
  for (const std::size_t request : replica.running) {
    State& state = states_[request];
    const std::size_t prompt_tokens = requests_[request].prompt.size();
    if (room == 0) break;
    if (state.computed_tokens >= prompt_tokens) continue;
    const std::size_t count = std::min(room, prompt_tokens - state.computed_tokens);
    chunks.push_back({.request = request,
                      .sequence = state.sequence,
                      .position = state.computed_tokens,
                      .count = count,
                      .wants_token = state.computed_tokens + count == prompt_tokens});
    state.computed_tokens += count;
    room -= count;
  }
  return chunks;
}

std::vector<StepChunk> Schedule::decode_chunks(const Replica& replica) {
  std::vector<StepChunk> chunks;
  for (const std::size_t request : replica.running) {
    State& state = states_[request];
    COHORT_DASSERT(state.computed_tokens + 1 == token_count(request),
                   "a running sequence must have exactly one token that is not computed");
    chunks.push_back({.request = request,
                      .sequence = state.sequence,
                      .position = state.computed_tokens,
                      .count = 1,
                      .wants_token = true});
    ++state.computed_tokens;
  }
  return chunks;
}

std::optional<ScheduledStep> Schedule::next() {
  ScheduledStep step;
  bool any_running = false;
  for (Replica& replica : replicas_) {
    admit(replica);
    any_running = any_running || !replica.running.empty();
    step.replicas.push_back(prefill_chunks(replica));
    step.prefill = step.prefill || !step.replicas.back().empty();
  }
  if (!any_running) return std::nullopt;
  if (step.prefill) return step;
  step.replicas.clear();
  for (const Replica& replica : replicas_) step.replicas.push_back(decode_chunks(replica));
  return step;
}

TokenOutcome Schedule::take(const ChosenToken& chosen) {
  State& state = states_[chosen.request];
  TokenOutcome outcome;
  outcome.request = chosen.request;
  outcome.token = chosen.token;
  outcome.is_text =
      std::ranges::find(options_.stop_tokens, chosen.token) == options_.stop_tokens.end();
  if (outcome.is_text) state.completion.push_back(chosen.token);
  if (!outcome.is_text) {
    outcome.finished = FinishReason::stop;
  } else if (state.completion.size() >= requests_[chosen.request].completion_tokens_max) {
    outcome.finished = FinishReason::length;
  } else if (token_count(chosen.request) >= options_.maxima.context_tokens) {
    outcome.finished = FinishReason::context;
  }
  if (outcome.finished) {
    Replica& replica = replicas_[replica_of(chosen.request)];
    std::erase(replica.running, chosen.request);
    replica.free_sequences.push_back(state.sequence);
    outcome.freed_sequence = state.sequence;
  }
  return outcome;
}

}  // namespace cohort
