#include "model/bpe.hpp"

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace cohort {
namespace {

/// Merges by rescanning the whole word for the lowest rank, leftmost pair.
std::vector<TokenId> merge_slowly(const MergeTable& merges, std::vector<TokenId> word) {
  for (;;) {
    const MergeTable::Merge* best = nullptr;
    std::size_t best_index = 0;
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      const MergeTable::Merge* merge = merges.find(word[i], word[i + 1]);
      if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) {
        best = merge;
        best_index = i;
      }
    }
    if (best == nullptr) return word;
    word[best_index] = best->result;
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(best_index) + 1);
  }
}

/// Merges of random pairs of tokens over a small alphabet; equal texts are one token.
MergeTable random_merges(std::mt19937& random, std::size_t letter_count, std::size_t merge_count) {
  MergeTable merges;
  std::vector<std::string> texts;
  std::map<std::string, TokenId> ids;
  const auto token_of = [&](const std::string& text) {
    const auto [entry, is_new] = ids.try_emplace(text, static_cast<TokenId>(texts.size()));
    if (is_new) texts.push_back(text);
    return entry->second;
  };
  for (std::size_t i = 0; i < letter_count; ++i)
    token_of(std::string(1, static_cast<char>('a' + i)));
  for (std::size_t i = 0; i < merge_count; ++i) {
    const auto left = static_cast<TokenId>(random() % texts.size());
    const auto right = static_cast<TokenId>(random() % texts.size());
    const std::string joined = texts[left] + texts[right];
    if (joined.size() <= 12) merges.add(left, right, token_of(joined));
  }
  return merges;
}

TEST(WordMerger, AgreesWithRescanningOnRandomMerges) {
  std::mt19937 random(20240601);
  for (int round = 0; round < 60; ++round) {
    const std::size_t letter_count = 1 + random() % 4;
    const MergeTable merges = random_merges(random, letter_count, 1 + random() % 60);
    WordMerger merger(merges);
    for (int i = 0; i < 50; ++i) {
      std::vector<TokenId> word(random() % 40);
      for (TokenId& token : word) token = static_cast<TokenId>(random() % letter_count);
      std::vector<TokenId> merged;
      merger.merge(word, merged);
      ASSERT_EQ(merged, merge_slowly(merges, word)) << "round " << round;
    }
  }
}

TEST(WordMerger, OfEqualRanksTheLeftmostGoesFirst) {
  MergeTable merges;
  merges.add(0, 0, 1);
  std::vector<TokenId> merged;
  WordMerger(merges).merge(std::vector<TokenId>{0, 0, 0}, merged);
  EXPECT_EQ(merged, (std::vector<TokenId>{1, 0}));
}

TEST(WordMerger, AppendsAndTakesEmptyWords) {
  MergeTable merges;
  merges.add(0, 1, 2);
  WordMerger merger(merges);
  std::vector<TokenId> merged{9};
  merger.merge({}, merged);
  merger.merge(std::vector<TokenId>{0}, merged);
  merger.merge(std::vector<TokenId>{0, 1}, merged);
  EXPECT_EQ(merged, (std::vector<TokenId>{9, 0, 2}));
}

TEST(MergeTable, APairHasOneMerge) {
  MergeTable merges;
  EXPECT_TRUE(merges.add(1, 2, 3));
  EXPECT_FALSE(merges.add(1, 2, 4));
  EXPECT_TRUE(merges.add(2, 1, 4));
  ASSERT_NE(merges.find(1, 2), nullptr);
  EXPECT_EQ(merges.find(1, 2)->result, 3U);
  EXPECT_EQ(merges.find(2, 1)->rank, 1U);
  EXPECT_EQ(merges.find(2, 2), nullptr);
}

// A quadratic method would take hours.
TEST(WordMerger, AMillionTokensInOneWord) {
  MergeTable merges;
  for (TokenId level = 0; level < 8; ++level) merges.add(level, level, level + 1);
  const std::vector<TokenId> word(1'000'000, 0);
  std::vector<TokenId> merged;
  WordMerger(merges).merge(word, merged);
  EXPECT_EQ(merged.size(), 1'000'000U / 256 + 1);  // a rest of 64 = 2^6
  EXPECT_EQ(merged.front(), 8U);
  EXPECT_EQ(merged.back(), 6U);
}

}  // namespace
}  // namespace cohort
