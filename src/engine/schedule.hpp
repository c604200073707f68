// Which sequences run when: pure, the same on every rank.
//
// Prompts belong to replicas in turn. Each replica runs up to its maximum of sequences at once and
// takes up the next prompt when one has ended. A step is either a prefill step or a decode step for
// all replicas alike: as long as any replica has prompt tokens to process, replicas that have some
// prefill and the others have no rows; else every running sequence gets one token. All that the
// schedule depends on is known to every rank: the prompts and the tokens chosen so far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/plan_slots.hpp"
#include "model/token_id.hpp"

namespace cohort {

/// A prompt and how long its completion may be.
struct Request {
  std::vector<TokenId> prompt;
  std::size_t completion_tokens_max = 0;
};

enum class FinishReason : std::uint8_t {
  stop,     ///< the model ended its answer
  length,   ///< as many tokens as asked for
  context,  ///< the context is full
};

/// Some new tokens of one sequence.
struct StepChunk {
  std::size_t request = 0;
  std::size_t sequence = 0;  // in the replica's KV cache
  std::size_t position = 0;  // of the first token
  std::size_t count = 0;
  bool wants_token = false;  // does the sequence go on after the chunk's last token?
};

struct ScheduledStep {
  bool prefill = false;
  std::vector<std::vector<StepChunk>> replicas;
};

/// A token chosen for a request.
struct ChosenToken {
  std::size_t request = 0;
  TokenId token = 0;
};

/// What became of a token.
struct TokenOutcome {
  std::size_t request = 0;
  TokenId token = 0;
  bool is_text = false;                  // false for the token that ended the answer
  std::optional<FinishReason> finished;  // set with the request's last token
  std::size_t freed_sequence = 0;        // of the replica's KV cache, if finished
};

struct ScheduleOptions {
  std::uint32_t replica_count = 1;
  EngineMaxima maxima;
  std::vector<TokenId> stop_tokens;  // none: answers end by length only
};

class Schedule {
 public:
  /// `requests` must outlive the schedule.
  /// Throws: Error{usage} naming a prompt that is empty or leaves no room for a token.
  Schedule(std::span<const Request> requests, const ScheduleOptions& options);

  std::uint32_t replica_of(std::size_t request) const noexcept {
    return static_cast<std::uint32_t>(request % options_.replica_count);
  }

  /// The next step, or nothing if all requests are finished. Call `take` for every chunk that wants
  /// a token before the next call.
  std::optional<ScheduledStep> next();

  /// Continues a request with its token.
  TokenOutcome take(const ChosenToken& chosen);

  /// The token of a request at `position`, prompt or completion.
  TokenId token_at(std::size_t request, std::size_t position) const;

  /// The tokens of a request's completion so far, without the one that ended it.
  std::span<const TokenId> completion(std::size_t request) const {
    return states_[request].completion;
  }

 private:
  struct State {
    std::vector<TokenId> completion;
    std::size_t computed_tokens = 0;  // in the KV cache
    std::size_t sequence = 0;         // of the replica's KV cache, while running
  };
  struct Replica {
    std::vector<std::size_t> waiting;         // requests, the next one last
    std::vector<std::size_t> running;         // requests in order of arrival
    std::vector<std::size_t> free_sequences;  // the next one last
  };

  void admit(Replica& replica);
  std::vector<StepChunk> prefill_chunks(const Replica& replica);
  std::vector<StepChunk> decode_chunks(const Replica& replica);
  std::size_t token_count(std::size_t request) const;

  std::span<const Request> requests_;
  ScheduleOptions options_;
  std::vector<State> states_;  // by request
  std::vector<Replica> replicas_;
};

}  // namespace cohort
