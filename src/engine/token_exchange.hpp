#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <cohort/ids.hpp>
#include <cohort/session.hpp>

#include "base/function_ref.hpp"
#include "engine/plan_slots.hpp"
#include "engine/step_rows.hpp"

namespace cohort {

/// One rank's part of the logits of a step's last rows.
struct LogitsPart {
  const float* values = nullptr;  // (rows, vocabulary_count)
  std::size_t vocabulary_begin = 0;
  std::size_t vocabulary_count = 0;
};

/// Picks the next token of a request from all its logits.
using TokenPicker = FunctionRef<TokenId(std::size_t request, std::span<const float> logits)>;

/// The largest logit and its token; of equal ones the lowest token. NaN if any logit is NaN.
struct Candidate {
  float logit = 0;
  TokenId token = 0;
};
Candidate best_candidate(std::span<const float> logits, std::size_t vocabulary_begin) noexcept;

/// Brings the vocabulary's parts together, lets one rank of each replica choose, and tells all.
class TokenExchange {
 public:
  /// `session` must outlive this. Local.
  TokenExchange(Session& session, const EngineSlots& slots, WorldRank rank);

  /// The next tokens of all requests of the step, in the order of `rows.requests`. `pick` is called
  /// on the first rank of each `attn` group only, and not by a greedy engine.
  /// Collective over tp, then attn, then tp if there are several replicas.
  /// Throws: Error{corrupt} on all ranks if a greedy engine's logits are not numbers; what `pick`
  /// throws.
  std::vector<TokenId> choose(const StepRows& rows, const LogitsPart& logits, TokenPicker pick);

 private:
  /// The tokens of this rank's replica, on the replica's first rank.
  std::vector<TokenId> choose_greedily(const StepRows& rows, const LogitsPart& logits);
  std::vector<TokenId> choose_from_all(const StepRows& rows, const LogitsPart& logits,
                                       TokenPicker pick);

  Session& session_;
  const EngineSlots& slots_;
  std::size_t replica_;
};

}  // namespace cohort
