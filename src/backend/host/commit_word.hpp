#pragma once

// The outcome of every generation in one word, as pure functions of that word.
//
//   bits 63..32  generation: the newest one that any rank has begun to decide
//   bits 31..2   outcomes of the generations before it, newest in bit 2; set means committed
//   bits 1..0    state of the newest: pending, committed, aborted
//
// A generation goes from pending to one of the two others by one compare-and-swap and never
// changes again. Older outcomes stay in the word because a rank may begin the next generation
// before a slower rank has read this one's.

#include <cstdint>
#include <optional>

namespace cohort::host {

enum class CommitOutcome : std::uint8_t { committed, aborted };

namespace commit_word {

inline constexpr std::uint64_t kPending = 0;
inline constexpr std::uint64_t kCommitted = 1;
inline constexpr std::uint64_t kAborted = 2;
inline constexpr std::uint64_t kStateMask = 3;
inline constexpr std::uint32_t kHistoryCount = 30;
inline constexpr std::uint64_t kHistoryMask = ((std::uint64_t{1} << kHistoryCount) - 1) << 2;

/// Generation 0 stands for "before the first": decided, never used.
inline constexpr std::uint64_t kInitial = kAborted;

constexpr std::uint32_t generation(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> 32);
}
constexpr std::uint64_t state(std::uint64_t word) noexcept {
  return word & kStateMask;
}
constexpr bool is_pending(std::uint64_t word, std::uint32_t of) noexcept {
  return generation(word) == of && state(word) == kPending;
}

/// The word in which `next` is pending, or nothing if `next` does not follow the word's generation
/// or that one is still undecided.
constexpr std::optional<std::uint64_t> begun(std::uint64_t word, std::uint32_t next) noexcept {
  if (generation(word) + 1 != next || state(word) == kPending) return std::nullopt;
  const std::uint64_t history = ((word & kHistoryMask) << 1) & kHistoryMask;
  const std::uint64_t newest = state(word) == kCommitted ? std::uint64_t{1} << 2 : 0;
  return (std::uint64_t{next} << 32) | history | newest | kPending;
}

/// The word after its pending generation is decided. Requires: it is pending.
constexpr std::uint64_t settled(std::uint64_t word, CommitOutcome outcome) noexcept {
  return word | (outcome == CommitOutcome::committed ? kCommitted : kAborted);
}

/// What became of a generation; nothing while it is pending, ahead of the word or forgotten.
constexpr std::optional<CommitOutcome> outcome(std::uint64_t word, std::uint32_t of) noexcept {
  const std::uint32_t behind = generation(word) - of;
  if (behind == 0) {
    if (state(word) == kPending) return std::nullopt;
    return state(word) == kCommitted ? CommitOutcome::committed : CommitOutcome::aborted;
  }
  if (behind > kHistoryCount) return std::nullopt;
  const bool committed = ((word >> (1 + behind)) & 1) != 0;
  return committed ? CommitOutcome::committed : CommitOutcome::aborted;
}

}  // namespace commit_word
}  // namespace cohort::host
