#include "engine/token_exchange.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>

#include <cohort/error.hpp>

namespace cohort {

namespace {

/// The batch's last rows that belong to a replica.
struct ReplicaRows {
  std::size_t first = 0;
  std::size_t count = 0;
};

ReplicaRows rows_of_replica(const StepRows& rows, std::size_t replica) {
  const auto& counts = rows.replica_last_counts;
  const auto own = counts.begin() + static_cast<std::ptrdiff_t>(replica);
  return {std::accumulate(counts.begin(), own, std::size_t{0}), *own};
}

/// Larger than the best so far; a NaN goes before all numbers, and then stays.
bool goes_before(float logit, float best) noexcept {
  return !std::isnan(best) && !(logit <= best);
}

[[noreturn]] void refuse_logits(std::size_t request) {
  throw Error(ErrorCode::corrupt,
              "the model gives no finite logit for prompt " + std::to_string(request + 1) +
                  "; its file is damaged",
              std::nullopt, "decode");
}

}  // namespace

Candidate best_candidate(std::span<const float> logits, std::size_t vocabulary_begin) noexcept {
  Candidate best{-std::numeric_limits<float>::infinity(), static_cast<TokenId>(vocabulary_begin)};
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (goes_before(logits[i], best.logit)) {
      best = {logits[i], static_cast<TokenId>(vocabulary_begin + i)};
    }
  }
  return best;
}

TokenExchange::TokenExchange(Session& session, const EngineSlots& slots, WorldRank rank)
    : session_(session), slots_(slots), replica_(session.plan().layout().attn_dp_rank(rank)) {}

std::vector<TokenId> TokenExchange::choose_greedily(const StepRows& rows,
                                                    const LogitsPart& logits) {
  const Group tp = session_.group(GroupKind::tp);
  const std::size_t row_count = rows.requests.size();
  const Buffer buffer = session_.take(slots_.candidates.value());
  auto* pairs = buffer.as<std::int32_t>();  // (tp ranks, rows, [logit's bits, token])
  std::int32_t* own = pairs + tp.rank().index() * row_count * 2;
  for (std::size_t row = 0; row < row_count; ++row) {
    const Candidate best =
        best_candidate({logits.values + row * logits.vocabulary_count, logits.vocabulary_count},
                       logits.vocabulary_begin);
    own[2 * row] = std::bit_cast<std::int32_t>(best.logit);
    own[2 * row + 1] = static_cast<std::int32_t>(best.token);
  }
  static_cast<void>(
      tp.all_gather({own, row_count * 2, DType::i32}, buffer.elements(tp.size() * row_count * 2)));
  const ReplicaRows replica = rows_of_replica(rows, replica_);
  std::vector<TokenId> tokens;
  // All rows are looked at, so that all ranks find the same fault.
  for (std::size_t row = 0; row < row_count; ++row) {
    Candidate best{-std::numeric_limits<float>::infinity(), 0};
    // Parts of the vocabulary come in order, so of equal logits the lowest token is met first.
    for (std::size_t rank = 0; rank < tp.size(); ++rank) {
      const std::int32_t* pair = pairs + (rank * row_count + row) * 2;
      const auto logit = std::bit_cast<float>(pair[0]);
      if (goes_before(logit, best.logit)) best = {logit, static_cast<TokenId>(pair[1])};
    }
    if (!std::isfinite(best.logit)) refuse_logits(rows.requests[row]);
    if (row >= replica.first && row < replica.first + replica.count) tokens.push_back(best.token);
  }
  return tokens;
}

std::vector<TokenId> TokenExchange::choose_from_all(const StepRows& rows, const LogitsPart& logits,
                                                    TokenPicker pick) {
  const Group tp = session_.group(GroupKind::tp);
  const std::size_t row_count = rows.requests.size();
  const std::size_t part = logits.vocabulary_count;
  const Buffer buffer = session_.take(slots_.logits.value());
  auto* gathered = buffer.as<float>();  // (tp ranks, rows, part of the vocabulary)
  float* own = gathered + tp.rank().index() * row_count * part;
  std::copy_n(logits.values, row_count * part, own);
  static_cast<void>(tp.all_gather({own, row_count * part, DType::f32},
                                  buffer.elements(tp.size() * row_count * part)));
  std::vector<TokenId> tokens;
  if (session_.group(GroupKind::attn).rank() != GroupRank{0}) return tokens;
  const ReplicaRows replica = rows_of_replica(rows, replica_);
  std::vector<float> all(tp.size() * part);
  for (std::size_t row = replica.first; row < replica.first + replica.count; ++row) {
    for (std::size_t rank = 0; rank < tp.size(); ++rank) {
      std::copy_n(gathered + (rank * row_count + row) * part, part, all.data() + rank * part);
    }
    tokens.push_back(pick(rows.requests[row], all));
  }
  return tokens;
}

std::vector<TokenId> TokenExchange::choose(const StepRows& rows, const LogitsPart& logits,
                                           TokenPicker pick) {
  const auto tokens =
      slots_.candidates ? choose_greedily(rows, logits) : choose_from_all(rows, logits, pick);
  const ReplicaRows replica = rows_of_replica(rows, replica_);
  const Group attn = session_.group(GroupKind::attn);
  const bool chooses = attn.rank() == GroupRank{0};
  const Buffer own = session_.take(slots_.replica_tokens);
  if (chooses) std::ranges::copy(tokens, own.as<std::int32_t>());
  static_cast<void>(attn.broadcast(own.elements(replica.count), GroupRank{0}));
  if (!slots_.batch_tokens) {
    return {own.as<std::int32_t>(), own.as<std::int32_t>() + replica.count};
  }
  const Group tp = session_.group(GroupKind::tp);
  const Buffer all = session_.take(*slots_.batch_tokens);
  std::vector<std::size_t> counts(tp.size(), 0);
  for (std::size_t i = 0; i < rows.replica_last_counts.size(); ++i) {
    counts[i * attn.size()] = rows.replica_last_counts[i];
  }
  auto* tokens_of_all = all.as<std::int32_t>();
  if (chooses) std::copy_n(own.as<std::int32_t>(), replica.count, tokens_of_all + replica.first);
  const std::size_t contributed = chooses ? replica.count : 0;
  static_cast<void>(tp.all_gatherv({tokens_of_all + replica.first, contributed, DType::i32},
                                   all.elements(rows.requests.size()), counts));
  return {tokens_of_all, tokens_of_all + rows.requests.size()};
}

}  // namespace cohort
