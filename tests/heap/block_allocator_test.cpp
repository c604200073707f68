#include "heap/block_allocator.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <unordered_map>

#include <gtest/gtest.h>

namespace cohort::heap {
namespace {

using Piece = BlockAllocator::Piece;
constexpr std::size_t kUnit = BlockAllocator::kUnitBytes;

/// What an allocator must show, kept the slow way: a list of units and who holds them.
class Model {
 public:
  explicit Model(std::size_t units) : holder_(units) {}

  /// The lengths of free runs and where they begin.
  std::map<std::size_t, std::size_t> free_runs() const {
    std::map<std::size_t, std::size_t> runs;  // begin -> length
    for (std::size_t unit = 0; unit < holder_.size();) {
      std::size_t end = unit;
      while (end < holder_.size() && holder_[end] == 0) ++end;
      if (end > unit) runs[unit] = end - unit;
      unit = end + 1;
    }
    return runs;
  }

  /// Checks that a block of `units` may have been put at `begin`: at the head of a free run that is
  /// no longer than it must be.
  void take(std::size_t begin, std::size_t units, int block) {
    const auto runs = free_runs();
    const auto run = runs.find(begin);
    ASSERT_NE(run, runs.end()) << "unit " << begin << " is no beginning of a free run";
    ASSERT_GE(run->second, units);
    for (const auto& [other, length] : runs) {
      EXPECT_FALSE(length >= units && length < run->second) << "a better fit was at " << other;
    }
    for (std::size_t unit = begin; unit < begin + units; ++unit) holder_[unit] = block;
  }

  bool fits(std::size_t units) const {
    const auto runs = free_runs();
    return std::any_of(runs.begin(), runs.end(),
                       [units](const auto& run) { return run.second >= units; });
  }

  void give_back(std::size_t begin, std::size_t units) {
    std::fill_n(holder_.begin() + static_cast<std::ptrdiff_t>(begin), units, 0);
  }

  int holder(std::size_t unit) const { return holder_[unit]; }
  std::size_t unit_count() const { return holder_.size(); }

 private:
  std::vector<int> holder_;
};

/// An allocator beside its model.
class Checked {
 public:
  explicit Checked(std::size_t units) : allocator_(units * kUnit, 1), model_(units) {}

  void allocate(std::size_t bytes) {
    const std::size_t units = std::max<std::size_t>((bytes + kUnit - 1) / kUnit, 1);
    const bool fits = model_.fits(units);
    const auto piece = allocator_.allocate(bytes);
    ASSERT_EQ(piece.has_value(), fits) << bytes << " bytes";
    trace_.push_back(piece ? allocator_.offset_of(*piece) : SIZE_MAX);
    if (!piece) return;
    EXPECT_EQ(allocator_.offset_of(*piece) % kUnit, 0U);
    ASSERT_EQ(allocator_.bytes_of(*piece), units * kUnit);
    ASSERT_NO_FATAL_FAILURE(model_.take(allocator_.offset_of(*piece) / kUnit, units, ++count_));
    live_.push_back({*piece, count_});
  }

  void release(std::size_t index) {
    const Live block = live_[index];
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(index));
    model_.give_back(allocator_.offset_of(block.piece) / kUnit,
                     allocator_.bytes_of(block.piece) / kUnit);
    allocator_.release(block.piece);
  }

  void expect_lookup_right() const {
    std::map<Piece, int> numbers;
    std::size_t live_bytes = 0;
    for (const Live& block : live_) {
      numbers[block.piece] = block.number;
      live_bytes += allocator_.bytes_of(block.piece);
    }
    EXPECT_EQ(allocator_.live_bytes(), live_bytes);
    for (std::size_t unit = 0; unit < model_.unit_count(); ++unit) {
      const auto found = allocator_.find(unit * kUnit + unit % kUnit);
      ASSERT_EQ(found ? numbers.at(*found) : 0, model_.holder(unit)) << "unit " << unit;
    }
  }

  std::size_t live_count() const { return live_.size(); }
  const std::vector<std::size_t>& trace() const { return trace_; }

 private:
  struct Live {
    Piece piece;
    int number;
  };
  BlockAllocator allocator_;
  Model model_;
  std::vector<Live> live_;
  std::vector<std::size_t> trace_;
  int count_ = 0;
};

// Every program of 7 steps over 5 units: allocations of 1, 2 or 3 units, releases of any block.
TEST(BlockAllocator, EveryShortProgramKeepsTheInvariants) {
  constexpr std::size_t kSteps = 7;
  constexpr std::size_t kChoices = 6;
  std::size_t programs = 1;
  for (std::size_t i = 0; i < kSteps; ++i) programs *= kChoices;
  for (std::size_t program = 0; program < programs; ++program) {
    Checked checked(5);
    std::size_t rest = program;
    for (std::size_t step = 0; step < kSteps; ++step, rest /= kChoices) {
      const std::size_t choice = rest % kChoices;
      if (choice < 3) {
        checked.allocate((choice + 1) * kUnit);
      } else if (choice - 3 < checked.live_count()) {
        checked.release(choice - 3);
      }
      ASSERT_FALSE(testing::Test::HasFailure()) << "program " << program << " step " << step;
    }
    checked.expect_lookup_right();
  }
}

TEST(BlockAllocator, LongRandomProgramsKeepTheInvariantsAndReplayEqual) {
  std::vector<std::size_t> first;
  for (int run = 0; run < 2; ++run) {
    std::mt19937 random(5);
    Checked checked(400);
    for (int step = 0; step < 6000; ++step) {
      const bool grows = step / 500 % 2 == 0;
      if (checked.live_count() == 0 || random() % 10 < (grows ? 7U : 3U)) {
        const std::size_t bytes = random() % 4 == 0 ? random() % 20'000 : random() % 900;
        ASSERT_NO_FATAL_FAILURE(checked.allocate(bytes));
      } else {
        checked.release(random() % checked.live_count());
      }
      if (step % 100 != 0) continue;
      ASSERT_NO_FATAL_FAILURE(checked.expect_lookup_right());
    }
    while (checked.live_count() > 0) checked.release(random() % checked.live_count());
    checked.allocate(400 * kUnit);  // all is one piece again
    EXPECT_EQ(checked.live_count(), 1U);
    if (run == 0) first = checked.trace();
    EXPECT_EQ(checked.trace(), first);
  }
}

TEST(BlockAllocator, ABudgetIsUsedToItsLastByte) {
  for (const std::size_t units : {1U, 2U, 63U, 64U, 65U, 4095U, 4096U, 4097U}) {
    BlockAllocator allocator(units * kUnit, 1);
    EXPECT_FALSE(allocator.allocate(units * kUnit + 1).has_value());
    const auto whole = allocator.allocate(units * kUnit);
    ASSERT_TRUE(whole.has_value());
    EXPECT_FALSE(allocator.allocate(0).has_value()) << "no room even for an empty block";
    allocator.release(*whole);
    for (std::size_t i = 0; i < units; ++i) ASSERT_TRUE(allocator.allocate(kUnit).has_value());
    EXPECT_FALSE(allocator.allocate(1).has_value());
  }
}

TEST(BlockAllocator, SizesThatNothingHoldsAreNotPlaced) {
  BlockAllocator allocator(8 * kUnit, 1);
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, std::size_t{1} << 40}) {
    EXPECT_FALSE(allocator.allocate(bytes).has_value()) << bytes;
  }
  BlockAllocator none(0, 1);
  EXPECT_FALSE(none.allocate(0).has_value());
}

// Against a map that knows for every unit which calls may still be reading it. A free piece may be
// pending on more than the bytes of the new block were, never on less.
TEST(BlockAllocator, NewBlocksArePendingOnAllThatLayThere) {
  constexpr std::size_t kUnits = 40;
  constexpr std::size_t kChannels = 3;
  std::mt19937 random(3);
  BlockAllocator allocator(kUnits * kUnit, kChannels);
  std::vector<std::map<std::size_t, std::uint64_t>> pending(kUnits);  // by unit: channel -> call
  std::vector<Piece> live;
  // Near the wrap, so that "later" is not "larger".
  std::uint64_t sequence = ~std::uint64_t{0} - 4000;
  for (int step = 0; step < 8000; ++step, ++sequence) {
    const auto choice = random() % 3;
    if (choice == 0) {
      const auto piece = allocator.allocate(random() % 2000);
      if (!piece) continue;
      std::map<std::size_t, std::uint64_t> waited;
      allocator.uses().settle(*piece, [&](std::size_t channel, std::uint64_t call) {
        EXPECT_TRUE(waited.emplace(channel, call).second);
      });
      EXPECT_FALSE(allocator.uses().is_pending(*piece));
      const std::size_t begin = allocator.offset_of(*piece) / kUnit;
      for (std::size_t unit = begin; unit < begin + allocator.bytes_of(*piece) / kUnit; ++unit) {
        for (const auto& [channel, call] : pending[unit]) {
          ASSERT_TRUE(waited.contains(channel));
          EXPECT_GE(static_cast<std::int64_t>(waited[channel] - call), 0);
        }
        pending[unit].clear();
      }
      live.push_back(*piece);
    } else if (!live.empty() && choice == 1) {
      const Piece piece = live[random() % live.size()];
      const std::size_t channel = random() % kChannels;
      allocator.uses().note(piece, channel, sequence);
      const std::size_t begin = allocator.offset_of(piece) / kUnit;
      for (std::size_t unit = begin; unit < begin + allocator.bytes_of(piece) / kUnit; ++unit) {
        pending[unit][channel] = sequence;
      }
    } else if (!live.empty()) {
      const std::size_t index = random() % live.size();
      allocator.release(live[index]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }
}

TEST(BlockAllocator, PiecesAreUsedAgain) {
  BlockAllocator allocator(64 * kUnit, 1);
  std::vector<Piece> live;
  std::mt19937 random(9);
  std::size_t pieces = 0;
  for (int step = 0; step < 200'000; ++step) {
    if (live.size() < 8) {
      if (const auto piece = allocator.allocate(random() % 1500)) live.push_back(*piece);
    }
    if (live.size() == 8) {
      const std::size_t index = random() % live.size();
      allocator.release(live[index]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(index));
    }
    if (step == 10'000) pieces = allocator.piece_count();
  }
  EXPECT_EQ(allocator.piece_count(), pieces);
}

TEST(BitTree, FindsNeighboursLikeASortedSet) {
  for (const std::size_t size : {1U, 64U, 65U, 4096U, 5000U, 300'000U}) {
    std::mt19937 random(size);
    BitTree tree(size);
    std::set<std::size_t> model;
    for (int step = 0; step < 3000; ++step) {
      const std::size_t index = random() % size;
      if (random() % 2 == 0) {
        tree.set(index);
        model.insert(index);
      } else {
        tree.reset(index);
        model.erase(index);
      }
      const std::size_t at = random() % size;
      const auto next = model.lower_bound(at);
      ASSERT_EQ(tree.next(at), next == model.end() ? BitTree::kNone : *next);
      const auto after = model.upper_bound(at);
      ASSERT_EQ(tree.previous(at), after == model.begin() ? BitTree::kNone : *std::prev(after));
    }
    EXPECT_EQ(tree.next(size + 7), BitTree::kNone);
  }
}

TEST(NumberMap, HoldsWhatAMapHolds) {
  std::mt19937 random(1);
  NumberMap map;
  std::unordered_map<std::uint32_t, std::uint32_t> model;
  for (int step = 0; step < 200'000; ++step) {
    // Few keys, so that they collide, come and go.
    const auto key = static_cast<std::uint32_t>(random() % 300 * (step % 2 == 0 ? 1U : 65'536U));
    if (random() % 2 == 0) {
      const auto value = static_cast<std::uint32_t>(random() % 1000);
      map.set(key, value);
      model[key] = value;
    } else {
      map.erase(key);
      model.erase(key);
    }
    const auto other = static_cast<std::uint32_t>(random() % 300 * (step % 3 == 0 ? 65'536U : 1U));
    const auto found = model.find(other);
    ASSERT_EQ(map.find(other), found == model.end() ? NumberMap::kNone : found->second);
  }
}

}  // namespace
}  // namespace cohort::heap
