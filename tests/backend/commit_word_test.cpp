#include "backend/host/commit_word.hpp"

#include <algorithm>
#include <compare>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::host {
namespace {

TEST(CommitWord, KeepsTheOutcomesOfEarlierGenerations) {
  std::uint64_t word = commit_word::kInitial;
  const auto planned = [](std::uint32_t generation) {
    return generation % 3 == 1 ? CommitOutcome::aborted : CommitOutcome::committed;
  };
  for (std::uint32_t generation = 1; generation <= 100; ++generation) {
    word = commit_word::begun(word, generation).value();
    EXPECT_TRUE(commit_word::is_pending(word, generation));
    EXPECT_EQ(commit_word::outcome(word, generation), std::nullopt);
    word = commit_word::settled(word, planned(generation));
    EXPECT_FALSE(commit_word::is_pending(word, generation));
    for (std::uint32_t back = 0; back <= commit_word::kHistoryCount && back < generation; ++back) {
      EXPECT_EQ(commit_word::outcome(word, generation - back), planned(generation - back));
    }
  }
  EXPECT_EQ(commit_word::outcome(word, 100 - commit_word::kHistoryCount - 1), std::nullopt);
  EXPECT_EQ(commit_word::outcome(word, 101), std::nullopt);
}

TEST(CommitWord, GenerationsBeginInOrderAndOneAtATime) {
  const std::uint64_t first = commit_word::begun(commit_word::kInitial, 1).value();
  EXPECT_EQ(commit_word::begun(commit_word::kInitial, 2), std::nullopt);
  EXPECT_EQ(commit_word::begun(first, 2), std::nullopt) << "the first is still pending";
  EXPECT_EQ(commit_word::begun(first, 1), std::nullopt);
}

// Every state that the atomic steps of `decide` can reach on a few ranks, in any order, with each
// rank free to find itself late at any moment: all that read the outcome of a generation read the
// same one, and it is `committed` only if all were ready.
class Interleavings {
 public:
  Interleavings(std::uint32_t rank_count, std::uint32_t generation_count)
      : generation_count_(generation_count), ranks_(rank_count) {
    for (Rank& rank : ranks_) rank.outcomes.assign(generation_count + 1, std::nullopt);
  }

  /// How many states there are.
  std::size_t explore() {
    visit();
    EXPECT_TRUE(committed_ && aborted_) << "both ends must be within reach";
    return seen_.size();
  }

 private:
  enum class Step : std::uint8_t { begin, mark_ready, look, settle, read };
  struct Rank {
    Step step = Step::begin;
    std::uint32_t generation = 1;
    std::uint32_t ready = 0;
    CommitOutcome wanted = CommitOutcome::aborted;
    std::vector<std::optional<CommitOutcome>> outcomes;
    auto operator<=>(const Rank&) const = default;
  };

  void visit() {
    if (!seen_.emplace(word_, ranks_).second) return;
    bool moved = false;
    for (Rank& rank : ranks_) {
      if (rank.generation > generation_count_) continue;
      moved = true;
      for (const bool late : {false, true}) {
        const Rank rank_before = rank;
        const std::uint64_t word_before = word_;
        if (advance(rank, late)) visit();
        rank = rank_before;
        word_ = word_before;
      }
    }
    if (!moved) check_end();
  }

  /// One atomic step; false if nothing changes (a wait) or `late` makes no difference here.
  bool advance(Rank& rank, bool late) {
    switch (rank.step) {
      case Step::begin:
        if (late) return false;
        if (const auto begun = commit_word::begun(word_, rank.generation)) word_ = *begun;
        rank.step = Step::mark_ready;
        return true;
      case Step::mark_ready:
        if (!late) rank.ready = rank.generation;
        rank.wanted = CommitOutcome::aborted;
        rank.step = late ? Step::settle : Step::look;
        return true;
      case Step::look: return look(rank, late);
      case Step::settle:
        if (late) return false;
        if (commit_word::is_pending(word_, rank.generation)) {
          word_ = commit_word::settled(word_, rank.wanted);
        }
        rank.step = Step::read;
        return true;
      case Step::read:
        if (late) return false;
        read(rank);
        return true;
    }
    return false;
  }

  bool look(Rank& rank, bool late) const {
    if (!commit_word::is_pending(word_, rank.generation)) {
      rank.step = Step::read;
      return !late;
    }
    const bool all_ready = std::all_of(ranks_.begin(), ranks_.end(), [&](const Rank& other) {
      return other.ready == rank.generation;
    });
    rank.wanted = all_ready && !late ? CommitOutcome::committed : CommitOutcome::aborted;
    rank.step = Step::settle;
    return all_ready || late;
  }

  void read(Rank& rank) {
    const auto outcome = commit_word::outcome(word_, rank.generation);
    rank.outcomes[rank.generation] = outcome;
    if (outcome == CommitOutcome::committed) {
      for (const Rank& other : ranks_) EXPECT_GE(other.ready, rank.generation);
    }
    ++rank.generation;
    rank.step = Step::begin;
  }

  void check_end() {
    for (std::uint32_t generation = 1; generation <= generation_count_; ++generation) {
      const auto outcome = ranks_[0].outcomes[generation];
      ASSERT_TRUE(outcome.has_value());
      for (const Rank& rank : ranks_) ASSERT_EQ(rank.outcomes[generation], outcome);
      (*outcome == CommitOutcome::committed ? committed_ : aborted_) = true;
    }
  }

  std::uint32_t generation_count_;
  std::uint64_t word_ = commit_word::kInitial;
  std::vector<Rank> ranks_;
  std::set<std::pair<std::uint64_t, std::vector<Rank>>> seen_;
  bool committed_ = false;
  bool aborted_ = false;
};

TEST(CommitWord, RanksAgreeInEveryInterleavingOfTwoRanks) {
  EXPECT_GT(Interleavings(2, 3).explore(), 500u);
}

TEST(CommitWord, RanksAgreeInEveryInterleavingOfThreeRanks) {
  EXPECT_GT(Interleavings(3, 2).explore(), 500u);
}

}  // namespace
}  // namespace cohort::host
