#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <cohort/export.hpp>
#include <cohort/local_move.hpp>

namespace cohort {

/// One sequence of a prefill step: `tokens` new ones behind `prefix` that are in the KV cache.
struct PrefillSequence {
  std::size_t tokens = 0;
  std::size_t prefix = 0;
};

/// Neighbouring tokens of one sequence that one rank computes, in consecutive local rows.
struct TokenRun {
  std::size_t sequence = 0;
  std::size_t position = 0;   ///< of the first token within its sequence, the prefix counted
  std::size_t count = 0;      ///< tokens, at least one
  std::size_t local_row = 0;  ///< of the first token on its rank
  std::size_t token_row = 0;  ///< of the first token in the batch in token order

  /// Keys that the run's token `index` may see: all up to and including itself.
  std::size_t kv_length(std::size_t index) const noexcept { return position + index + 1; }
  friend bool operator==(const TokenRun&, const TokenRun&) = default;
};

/// Where a token's row is.
struct RowPlace {
  std::uint32_t cp_rank = 0;
  std::size_t local_row = 0;
  friend bool operator==(const RowPlace&, const RowPlace&) = default;
};

/// How context parallelism shares the new tokens of one replica's sequences: zigzag.
///
/// Each sequence of L new tokens is cut into S = 2 * cp blocks, block b of L / S tokens and one
/// more if b < L % S; rank r owns blocks r and S - 1 - r, so that every rank has early tokens,
/// which see few keys, and late ones, which see many. Blocks of short sequences may be empty. A
/// sequence of one new token (a decode step) lies on rank 0.
///
/// Orders of rows: *token order* is sequence after sequence, each by position; *local order* of a
/// rank is its tokens in token order; *gathered order* is rank 0's local rows, then rank 1's, and
/// so on. Value type, pure.
class COHORT_EXPORT ContextParallel {
 public:
  /// Throws: Error{usage} for cp of 0.
  ContextParallel(std::uint32_t cp, std::span<const PrefillSequence> sequences);

  std::uint32_t cp() const noexcept { return static_cast<std::uint32_t>(runs_.size()); }

  /// New tokens of all sequences.
  std::size_t total_rows() const noexcept { return total_rows_; }

  /// Local rows of each rank; what `BatchRows::by_chunk` takes for this replica.
  std::span<const std::size_t> rows_by_rank() const noexcept { return rows_by_rank_; }

  /// The rank's tokens in local order; runs that meet are one. Throws: Error{usage} past cp.
  std::span<const TokenRun> runs(std::uint32_t cp_rank) const;

  /// All ranks' runs in gathered order; `local_row` is the row in that order.
  std::vector<TokenRun> gathered_runs() const;

  /// For each row in token order its row in gathered order: tokens[i] = gathered[token_order()[i]].
  std::vector<std::size_t> token_order() const;

  /// Rows in token order -> the rank's rows in local order: the split. For `row_moves`.
  /// Throws: Error{usage} past cp.
  std::vector<RowCopy> split_copies(std::uint32_t cp_rank) const;

  /// Rows in gathered order -> rows in token order: what is left to do behind a gather over
  /// attn_cp, one copy for each run.
  std::vector<RowCopy> token_order_copies() const;

  /// Where the last token of each sequence lies; nothing for a sequence without new tokens.
  std::span<const std::optional<RowPlace>> last_rows() const noexcept { return last_rows_; }

 private:
  std::vector<std::vector<TokenRun>> runs_;  // (cp, runs of the rank)
  std::vector<std::size_t> rows_by_rank_;
  std::vector<std::optional<RowPlace>> last_rows_;
  std::size_t total_rows_ = 0;
};

}  // namespace cohort
