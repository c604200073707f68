#pragma once

// Numbers to numbers, in constant time on average, without an allocation unless it holds more than
// ever before: open addressing in a table that is at most half full. Pure.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace cohort::heap {

class NumberMap {
 public:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  /// The value of `key`, or kNone.
  std::uint32_t find(std::uint32_t key) const noexcept {
    for (std::size_t place = place_of(key);; place = following(place)) {
      if (cells_[place].value == kNone || cells_[place].key == key) return cells_[place].value;
    }
  }

  /// Makes room for `count` keys.
  void reserve(std::size_t count) {
    while (2 * count > cells_.size()) grow();
  }

  /// Sets the value, which must not be kNone. Allocates nothing where room was made.
  void set(std::uint32_t key, std::uint32_t value) {
    reserve(count_ + 1);
    std::size_t place = place_of(key);
    while (cells_[place].value != kNone && cells_[place].key != key) place = following(place);
    if (cells_[place].value == kNone) ++count_;
    cells_[place] = {key, value};
  }

  void erase(std::uint32_t key) noexcept {
    std::size_t hole = place_of(key);
    while (cells_[hole].key != key) {
      if (cells_[hole].value == kNone) return;
      hole = following(hole);
    }
    if (cells_[hole].value == kNone) return;
    --count_;
    // What was displaced over the hole moves back, so that searches never end too early.
    for (std::size_t place = following(hole); cells_[place].value != kNone;
         place = following(place)) {
      const std::size_t wanted = place_of(cells_[place].key);
      if (((place - wanted) & mask()) < ((place - hole) & mask())) continue;
      cells_[hole] = cells_[place];
      hole = place;
    }
    cells_[hole] = {};
  }

 private:
  struct Cell {
    std::uint32_t key = 0;
    std::uint32_t value = kNone;
  };

  std::size_t mask() const noexcept { return cells_.size() - 1; }
  std::size_t following(std::size_t place) const noexcept { return (place + 1) & mask(); }
  std::size_t place_of(std::uint32_t key) const noexcept {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ULL) >> 32U) & mask();
  }
  void grow() {
    std::vector<Cell> old(cells_.size() * 2);
    old.swap(cells_);
    for (const Cell& cell : old) {
      if (cell.value == kNone) continue;
      std::size_t place = place_of(cell.key);
      while (cells_[place].value != kNone) place = following(place);
      cells_[place] = cell;
    }
  }

  std::vector<Cell> cells_ = std::vector<Cell>(16);  // a power of two of them
  std::size_t count_ = 0;
};

}  // namespace cohort::heap
