#include "model/bpe.hpp"

#include <algorithm>
#include <cstddef>
#include <tuple>

namespace cohort {
namespace {

std::uint64_t pair_key(TokenId left, TokenId right) noexcept {
  return (std::uint64_t{left} << 32) | right;
}

/// Orders a heap so that the lowest rank, then the leftmost pair, is on top.
constexpr auto kComesLater = [](const auto& a, const auto& b) {
  return std::tie(a.rank, a.left) > std::tie(b.rank, b.left);
};

}  // namespace

bool MergeTable::add(TokenId left, TokenId right, TokenId result) {
  const auto rank = static_cast<std::uint32_t>(merges_.size());
  return merges_.try_emplace(pair_key(left, right), Merge{rank, result}).second;
}

const MergeTable::Merge* MergeTable::find(TokenId left, TokenId right) const noexcept {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void WordMerger::merge(std::span<const TokenId> word, std::vector<TokenId>& output) {
  symbols_.clear();
  heap_.clear();
  for (const TokenId token : word) {
    const auto index = static_cast<std::uint32_t>(symbols_.size());
    const bool last = index + 1 == word.size();
    symbols_.push_back({token, index == 0 ? kNone : index - 1, last ? kNone : index + 1, false});
  }
  for (std::uint32_t i = 0; i < symbols_.size(); ++i) queue_pair(i);

  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), kComesLater);
    const Candidate candidate = heap_.back();
    heap_.pop_back();
    if (is_current(candidate)) apply(candidate);
  }
  for (const Symbol& symbol : symbols_) {
    if (!symbol.merged_away) output.push_back(symbol.token);
  }
}

void WordMerger::queue_pair(std::uint32_t left) {
  if (left == kNone || symbols_[left].next == kNone) return;
  const TokenId left_token = symbols_[left].token;
  const TokenId right_token = symbols_[symbols_[left].next].token;
  const MergeTable::Merge* merge = merges_->find(left_token, right_token);
  if (merge == nullptr) return;
  heap_.push_back({merge->rank, left, left_token, right_token, merge->result});
  std::push_heap(heap_.begin(), heap_.end(), kComesLater);
}

bool WordMerger::is_current(const Candidate& candidate) const noexcept {
  const Symbol& left = symbols_[candidate.left];
  return !left.merged_away && left.token == candidate.left_token && left.next != kNone &&
         symbols_[left.next].token == candidate.right_token;
}

void WordMerger::apply(const Candidate& candidate) {
  Symbol& left = symbols_[candidate.left];
  Symbol& right = symbols_[left.next];
  left.token = candidate.result;
  left.next = right.next;
  right.merged_away = true;
  if (right.next != kNone) symbols_[right.next].previous = candidate.left;
  queue_pair(left.previous);
  queue_pair(candidate.left);
}

}  // namespace cohort
