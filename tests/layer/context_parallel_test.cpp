#include <numeric>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include <cohort/context_parallel.hpp>
#include <cohort/error.hpp>

namespace cohort {
namespace {

using Sequences = std::vector<PrefillSequence>;

/// The independent formula: the block of each token, found by counting blocks up, decides its rank.
std::uint32_t expected_rank(std::size_t token, std::size_t tokens, std::uint32_t cp) {
  const std::size_t blocks = 2 * std::size_t{cp};
  std::size_t end = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    end += tokens / blocks + (block < tokens % blocks ? 1 : 0);
    if (token < end) return static_cast<std::uint32_t>(std::min(block, blocks - 1 - block));
  }
  ADD_FAILURE() << "token " << token << " of " << tokens << " is in no block";
  return 0;
}

void expect_zigzag(std::uint32_t cp, const Sequences& sequences) {
  const ContextParallel split(cp, sequences);
  std::vector<std::vector<std::size_t>> local(cp);  // global numbers of each rank's tokens
  std::size_t token_row = 0;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    for (std::size_t i = 0; i < sequences[s].tokens; ++i, ++token_row) {
      local[expected_rank(i, sequences[s].tokens, cp)].push_back(token_row);
    }
  }
  ASSERT_EQ(split.total_rows(), token_row);
  std::vector<std::size_t> gathered;
  for (std::uint32_t r = 0; r < cp; ++r) {
    ASSERT_EQ(split.rows_by_rank()[r], local[r].size());
    std::vector<std::size_t> rows;
    for (const TokenRun& run : split.runs(r)) {
      ASSERT_GT(run.count, 0u);
      ASSERT_EQ(run.local_row, rows.size());
      for (std::size_t i = 0; i < run.count; ++i) rows.push_back(run.token_row + i);
    }
    ASSERT_EQ(rows, local[r]) << "rank " << r;
    gathered.insert(gathered.end(), rows.begin(), rows.end());
  }
  // Shard, gather and rearrange give back token order; each token is owned once.
  const auto order = split.token_order();
  ASSERT_EQ(order.size(), token_row);
  for (std::size_t i = 0; i < order.size(); ++i) ASSERT_EQ(gathered.at(order[i]), i);
}

std::vector<int> copied(const std::vector<int>& from, std::span<const RowCopy> copies,
                        std::size_t rows) {
  std::vector<int> to(rows, -1);
  for (const RowCopy& copy : copies) {
    for (std::size_t i = 0; i < copy.count; ++i) to.at(copy.to + i) = from.at(*copy.from + i);
  }
  return to;
}

/// Splitting a batch, gathering the ranks' rows and rearranging them gives the batch again.
void expect_copies(std::uint32_t cp, const Sequences& sequences) {
  const ContextParallel split(cp, sequences);
  std::vector<int> tokens(split.total_rows());
  std::iota(tokens.begin(), tokens.end(), 0);
  std::vector<int> gathered;
  for (std::uint32_t r = 0; r < cp; ++r) {
    const auto local = copied(tokens, split.split_copies(r), split.rows_by_rank()[r]);
    gathered.insert(gathered.end(), local.begin(), local.end());
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    ASSERT_EQ(gathered.at(split.token_order()[i]), tokens[i]);
  }
  ASSERT_EQ(copied(gathered, split.token_order_copies(), tokens.size()), tokens);
}

void expect_causal(std::uint32_t cp, const Sequences& sequences) {
  const ContextParallel split(cp, sequences);
  std::vector<std::size_t> sequence_first(sequences.size() + 1, 0);
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    sequence_first[s + 1] = sequence_first[s] + sequences[s].tokens;
  }
  for (std::uint32_t r = 0; r < cp; ++r) {
    for (const TokenRun& run : split.runs(r)) {
      for (std::size_t i = 0; i < run.count; ++i) {
        const std::size_t index = run.token_row + i - sequence_first[run.sequence];
        ASSERT_EQ(run.kv_length(i), sequences[run.sequence].prefix + index + 1);
      }
      ASSERT_LE(run.token_row + run.count, sequence_first[run.sequence + 1]);
    }
  }
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const auto place = split.last_rows()[s];
    ASSERT_EQ(place.has_value(), sequences[s].tokens > 0);
    if (!place) continue;
    ASSERT_EQ(place->cp_rank, expected_rank(sequences[s].tokens - 1, sequences[s].tokens, cp));
    std::size_t rank_first = 0;
    for (std::uint32_t r = 0; r < place->cp_rank; ++r) rank_first += split.rows_by_rank()[r];
    ASSERT_EQ(split.token_order()[sequence_first[s + 1] - 1], rank_first + place->local_row);
  }
}

void expect_split(std::uint32_t cp, const Sequences& sequences) {
  std::string trace = "cp " + std::to_string(cp) + " tokens";
  for (const auto& sequence : sequences) trace.append(" ").append(std::to_string(sequence.tokens));
  SCOPED_TRACE(trace);
  ASSERT_NO_FATAL_FAILURE(expect_zigzag(cp, sequences));
  ASSERT_NO_FATAL_FAILURE(expect_causal(cp, sequences));
  ASSERT_NO_FATAL_FAILURE(expect_copies(cp, sequences));
}

TEST(ContextParallel, OneSequenceOfAnyLength) {
  for (std::uint32_t cp = 1; cp <= 8; ++cp) {
    for (std::size_t tokens = 0; tokens <= 6 * std::size_t{cp} + 3; ++tokens) {
      ASSERT_NO_FATAL_FAILURE(expect_split(cp, {{tokens, 0}}));
      ASSERT_NO_FATAL_FAILURE(expect_split(cp, {{tokens, 17}}));
    }
  }
}

TEST(ContextParallel, EveryPairOfShortSequences) {
  for (std::uint32_t cp = 1; cp <= 4; ++cp) {
    for (std::size_t first = 0; first <= 2 * std::size_t{cp} + 1; ++first) {
      for (std::size_t second = 0; second <= 2 * std::size_t{cp} + 1; ++second) {
        ASSERT_NO_FATAL_FAILURE(expect_split(cp, {{first, 0}, {second, 3}}));
      }
    }
  }
}

TEST(ContextParallel, RandomBatches) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const auto cp = static_cast<std::uint32_t>(1 + random() % 8);
    Sequences sequences(random() % 6);
    for (auto& sequence : sequences) sequence = {random() % (random() % 2 ? 5 : 90), random() % 50};
    ASSERT_NO_FATAL_FAILURE(expect_split(cp, sequences)) << "round " << round;
  }
}

TEST(ContextParallel, KnownExample) {
  const ContextParallel split(2, Sequences{{10, 0}, {9, 0}});
  EXPECT_EQ(std::vector(split.rows_by_rank().begin(), split.rows_by_rank().end()),
            (std::vector<std::size_t>{10, 9}));
  // Blocks of 3, 3, 2, 2 and of 3, 2, 2, 2; rank 0 owns the outer ones, rank 1 the inner ones,
  // which meet and so are one run.
  EXPECT_EQ(std::vector(split.runs(0).begin(), split.runs(0).end()),
            (std::vector<TokenRun>{
                {0, 0, 3, 0, 0}, {0, 8, 2, 3, 8}, {1, 0, 3, 5, 10}, {1, 7, 2, 8, 17}}));
  EXPECT_EQ(std::vector(split.runs(1).begin(), split.runs(1).end()),
            (std::vector<TokenRun>{{0, 3, 5, 0, 3}, {1, 3, 4, 5, 13}}));
}

TEST(ContextParallel, PrefixMovesPositionsOnly) {
  const ContextParallel split(2, Sequences{{4, 100}});
  EXPECT_EQ(std::vector(split.runs(0).begin(), split.runs(0).end()),
            (std::vector<TokenRun>{{0, 100, 1, 0, 0}, {0, 103, 1, 1, 3}}));
  EXPECT_EQ(split.runs(0)[1].kv_length(0), 104u);
}

TEST(ContextParallel, OneNewTokenLiesOnRankZero) {
  const ContextParallel split(4, Sequences{{1, 9}, {1, 0}});
  EXPECT_EQ(split.rows_by_rank()[0], 2u);
  EXPECT_EQ(split.last_rows()[1], (RowPlace{0, 1}));
}

TEST(ContextParallel, OneRankKeepsTokenOrder) {
  const ContextParallel split(1, Sequences{{5, 0}, {0, 2}, {3, 1}});
  std::vector<std::size_t> identity(8);
  std::iota(identity.begin(), identity.end(), 0);
  EXPECT_EQ(split.token_order(), identity);
  EXPECT_EQ(split.runs(0).size(), 2u);
}

TEST(ContextParallel, RanksCarryNearlyEqualAttentionWork) {
  const ContextParallel split(4, Sequences{{4096, 0}});
  std::set<std::size_t> keys_seen;
  for (std::uint32_t r = 0; r < 4; ++r) {
    std::size_t keys = 0;
    for (const TokenRun& run : split.runs(r)) {
      for (std::size_t i = 0; i < run.count; ++i) keys += run.kv_length(i);
    }
    keys_seen.insert(keys);
  }
  EXPECT_EQ(keys_seen.size(), 1u);
}

TEST(ContextParallel, RefusesRanksThatAreNone) {
  EXPECT_THROW(ContextParallel(0, Sequences{}), Error);
  EXPECT_THROW((void)ContextParallel(2, Sequences{}).runs(2), Error);
  EXPECT_THROW((void)ContextParallel(2, Sequences{}).split_copies(2), Error);
}

}  // namespace
}  // namespace cohort
