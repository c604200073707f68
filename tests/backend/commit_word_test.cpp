#include "backend/host/commit_word.hpp"

#include <functional>
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

// Every interleaving of the atomic steps of `decide` on a few ranks, each of which may find itself
// late at any moment: all that read an outcome of a generation read the same one, and it is
// `committed` only if all were ready.
class Interleavings {
 public:
  Interleavings(std::uint32_t rank_count, std::uint32_t generation_count)
      : generation_count_(generation_count), ranks_(rank_count) {
    for (Rank& rank : ranks_) rank.outcomes.assign(generation_count + 1, std::nullopt);
  }

  std::uint64_t explore() {
    visit();
    return ends_;
  }

 private:
  enum class Step { begin, mark_ready, look, settle, read };
  struct Rank {
    Step step = Step::begin;
    std::uint32_t generation = 1;
    std::uint32_t ready = 0;
    CommitOutcome wanted = CommitOutcome::aborted;
    std::vector<std::optional<CommitOutcome>> outcomes;
  };

  void visit() {
    bool moved = false;
    for (std::size_t index = 0; index < ranks_.size(); ++index) {
      if (ranks_[index].generation > generation_count_) continue;
      moved = true;
      for (const bool late : {false, true}) {
        const Rank before = ranks_[index];
        const std::uint64_t word_before = word_;
        if (advance(ranks_[index], late)) visit();
        ranks_[index] = before;
        word_ = word_before;
      }
    }
    if (!moved) ++ends_, check();
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
      case Step::look: {
        bool all_ready = true;
        for (const Rank& other : ranks_) all_ready &= other.ready == rank.generation;
        if (!commit_word::is_pending(word_, rank.generation)) {
          if (late) return false;
          rank.step = Step::read;
          return true;
        }
        if (!all_ready && !late) return false;
        rank.wanted = all_ready && !late ? CommitOutcome::committed : CommitOutcome::aborted;
        rank.step = Step::settle;
        return true;
      }
      case Step::settle:
        if (late) return false;
        if (commit_word::is_pending(word_, rank.generation)) {
          word_ = commit_word::settled(word_, rank.wanted);
        }
        rank.step = Step::read;
        return true;
      case Step::read:
        if (late) return false;
        rank.outcomes[rank.generation] = commit_word::outcome(word_, rank.generation);
        if (rank.outcomes[rank.generation] == CommitOutcome::committed) {
          for (const Rank& other : ranks_) EXPECT_GE(other.ready, rank.generation);
        }
        ++rank.generation;
        rank.step = Step::begin;
        return true;
    }
    return false;
  }

  void check() const {
    for (std::uint32_t generation = 1; generation <= generation_count_; ++generation) {
      for (const Rank& rank : ranks_) {
        ASSERT_TRUE(rank.outcomes[generation].has_value());
        ASSERT_EQ(rank.outcomes[generation], ranks_[0].outcomes[generation]);
      }
    }
  }

  std::uint32_t generation_count_;
  std::uint64_t word_ = commit_word::kInitial;
  std::vector<Rank> ranks_;
  std::uint64_t ends_ = 0;
};

TEST(CommitWord, AllInterleavingsOfTwoRanksAndTwoGenerationsAgree) {
  EXPECT_GT(Interleavings(2, 2).explore(), 1000u);
}

TEST(CommitWord, AllInterleavingsOfThreeRanksAgree) {
  EXPECT_GT(Interleavings(3, 1).explore(), 1000u);
}

}  // namespace
}  // namespace cohort::host
