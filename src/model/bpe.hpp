// Byte-pair merging of one word.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/token_id.hpp"

namespace cohort {

/// The merges of a vocabulary: which two neighbouring tokens become which one, and in which order.
/// Immutable once filled; any number of threads may read it.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = 0;  // position in the model's list: lower goes first
    TokenId result = 0;
  };

  /// Adds the next merge, `left` and `right` to `result`. False if that pair has one already.
  bool add(TokenId left, TokenId right, TokenId result);

  /// The merge of a pair, or null. Local.
  const Merge* find(TokenId left, TokenId right) const noexcept;

 private:
  std::unordered_map<std::uint64_t, Merge> merges_;
};

/// Merges words with one table. Keeps its working memory between words: one per thread.
class WordMerger {
 public:
  explicit WordMerger(const MergeTable& merges) : merges_(&merges) {}

  /// Applies the merge of lowest rank, of equals the leftmost, until none applies, and appends what
  /// is left of `word` to `output`. Local.
  /// Cost: O(n log n) in the tokens of `word`.
  void merge(std::span<const TokenId> word, std::vector<TokenId>& output);

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  /// One token of the word, in a doubly linked list over `symbols_`.
  struct Symbol {
    TokenId token = 0;
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
    bool merged_away = false;
  };

  /// A pair that could be merged when it was queued; stale once either token has changed.
  struct Candidate {
    std::uint32_t rank = 0;
    std::uint32_t left = 0;  // index into symbols_
    TokenId left_token = 0;
    TokenId right_token = 0;
    TokenId result = 0;
  };

  void queue_pair(std::uint32_t left);
  bool is_current(const Candidate& candidate) const noexcept;
  void apply(const Candidate& candidate);

  const MergeTable* merges_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace cohort
