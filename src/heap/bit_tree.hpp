#pragma once

// A set of small integers that finds the next and the previous member in a step per level: a bit
// for each integer, and above it a bit for each word that is not empty. Three levels cover 262,144
// integers, five more than 10^9. Pure.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace cohort::heap {

class BitTree {
 public:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

  /// Holds integers below `size`, none at first.
  explicit BitTree(std::size_t size) {
    std::size_t words = size;
    do {
      words = (words + kWordBits - 1) / kWordBits;
      levels_.emplace_back(words);
    } while (words > 1);
  }

  void set(std::size_t index) noexcept {
    for (auto& level : levels_) {
      std::uint64_t& word = level[index / kWordBits];
      const bool was_empty = word == 0;
      word |= bit(index);
      if (!was_empty) return;
      index /= kWordBits;
    }
  }

  void reset(std::size_t index) noexcept {
    for (auto& level : levels_) {
      std::uint64_t& word = level[index / kWordBits];
      word &= ~bit(index);
      if (word != 0) return;
      index /= kWordBits;
    }
  }

  /// The smallest member that is not below `index`, or kNone.
  std::size_t next(std::size_t index) const noexcept {
    for (std::size_t level = 0; level < levels_.size(); ++level) {
      const std::size_t word = index / kWordBits;
      if (word >= levels_[level].size()) return kNone;
      const std::uint64_t rest = levels_[level][word] & (~std::uint64_t{0} << index % kWordBits);
      if (rest != 0) return lowest_below(level, word * kWordBits + lowest_bit(rest));
      index = word + 1;
    }
    return kNone;
  }

  /// The largest member that is not above `index`, or kNone. `index` must be below the size.
  std::size_t previous(std::size_t index) const noexcept {
    for (std::size_t level = 0; level < levels_.size(); ++level) {
      const std::size_t word = index / kWordBits;
      const std::uint64_t rest =
          levels_[level][word] & (~std::uint64_t{0} >> (kWordBits - 1 - index % kWordBits));
      if (rest != 0) return highest_below(level, word * kWordBits + highest_bit(rest));
      if (word == 0) return kNone;
      index = word - 1;
    }
    return kNone;
  }

 private:
  static constexpr std::size_t kWordBits = 64;

  static constexpr std::uint64_t bit(std::size_t index) noexcept {
    return std::uint64_t{1} << index % kWordBits;
  }
  static std::size_t lowest_bit(std::uint64_t word) noexcept {
    return static_cast<std::size_t>(std::countr_zero(word));
  }
  static std::size_t highest_bit(std::uint64_t word) noexcept {
    return kWordBits - 1 - static_cast<std::size_t>(std::countl_zero(word));
  }
  std::size_t lowest_below(std::size_t level, std::size_t index) const noexcept {
    while (level-- > 0) index = index * kWordBits + lowest_bit(levels_[level][index]);
    return index;
  }
  std::size_t highest_below(std::size_t level, std::size_t index) const noexcept {
    while (level-- > 0) index = index * kWordBits + highest_bit(levels_[level][index]);
    return index;
  }

  std::vector<std::vector<std::uint64_t>> levels_;  // from the integers' own bits upwards
};

}  // namespace cohort::heap
