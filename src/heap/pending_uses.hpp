#pragma once

// Which calls may still be reading a piece of this rank's memory: per piece and channel the
// sequence of the last one. Pure bookkeeping. Channels as in heap/slot_rings.hpp.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cohort::heap {

class PendingUses {
 public:
  /// Pieces are numbered from 0.
  explicit PendingUses(std::size_t channel_count)
      : channel_count_(channel_count), words_((channel_count + 63) / 64) {}

  /// Makes room for `piece_count` pieces.
  void grow(std::size_t piece_count) {
    masks_.resize(piece_count * words_);
    sequences_.resize(piece_count * channel_count_);
  }

  /// Peers may read the piece until all have finished call `sequence` of `channel`.
  void note(std::size_t piece, std::size_t channel, std::uint64_t sequence) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << channel % 64;
    std::uint64_t& mask = masks_[piece * words_ + channel / 64];
    std::uint64_t& last = sequences_[piece * channel_count_ + channel];
    // As a difference, so that sequences may wrap.
    if ((mask & bit) == 0 || static_cast<std::int64_t>(sequence - last) > 0) last = sequence;
    mask |= bit;
  }

  /// `into` is pending on what either was: two pieces become one.
  void merge(std::size_t into, std::size_t from) noexcept {
    for (std::size_t word = 0; word < words_; ++word) {
      for (std::uint64_t rest = masks_[from * words_ + word]; rest != 0; rest &= rest - 1) {
        const std::size_t channel = word * 64 + lowest_bit(rest);
        note(into, channel, sequences_[from * channel_count_ + channel]);
      }
    }
  }

  void clear(std::size_t piece) noexcept {
    for (std::size_t word = 0; word < words_; ++word) masks_[piece * words_ + word] = 0;
  }

  bool is_pending(std::size_t piece) const noexcept {
    const auto begin = masks_.begin() + static_cast<std::ptrdiff_t>(piece * words_);
    return std::any_of(begin, begin + static_cast<std::ptrdiff_t>(words_),
                       [](std::uint64_t mask) { return mask != 0; });
  }

  /// Calls `wait(channel, sequence)` for every pending use of the piece, and forgets each.
  template <typename Wait>
  void settle(std::size_t piece, const Wait& wait) {
    for (std::size_t word = 0; word < words_; ++word) {
      std::uint64_t& mask = masks_[piece * words_ + word];
      while (mask != 0) {
        const std::size_t channel = word * 64 + lowest_bit(mask);
        wait(channel, sequences_[piece * channel_count_ + channel]);
        mask &= mask - 1;
      }
    }
  }

 private:
  static std::size_t lowest_bit(std::uint64_t word) noexcept {
    return static_cast<std::size_t>(std::countr_zero(word));
  }

  std::size_t channel_count_;
  std::size_t words_;                     // of 64 channels each
  std::vector<std::uint64_t> masks_;      // (pieces, words), a bit per channel
  std::vector<std::uint64_t> sequences_;  // (pieces, channels)
};

}  // namespace cohort::heap
