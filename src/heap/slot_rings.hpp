#pragma once

// Which entry of a slot comes next, and who may still be reading an entry: pure bookkeeping.
//
// Invariants:
//   1. The entry that `next` yields depends on how often `next` was called for that slot, and on
//      nothing else: the same on every rank of an SPMD program.
//   2. An entry's pending uses hold, per channel, the sequence of the last call in which peers
//      could read this rank's copy of it. It is free once every member of each of those channels
//      has finished that call, whichever group takes it next.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <cohort/ids.hpp>
#include <cohort/plan.hpp>

namespace cohort::heap {

/// An entry of a slot.
struct EntryId {
  std::uint32_t slot = 0;
  std::uint32_t entry = 0;
  friend bool operator==(const EntryId&, const EntryId&) = default;
};

class SlotRings {
 public:
  SlotRings(const Plan& plan, std::size_t channel_count);

  /// The slot's next entry in ring order.
  EntryId next(SlotId slot);

  /// Notes that peers may read this rank's copy of `entry` until all have finished call `sequence`
  /// of `channel`.
  void note_use(EntryId entry, std::size_t channel, std::uint64_t sequence);

  /// Calls `wait(channel, sequence)` for every pending use of `entry`, then forgets them.
  template <typename Wait>
  void settle(EntryId entry, const Wait& wait) {
    State& state = state_of(entry);
    for (std::size_t channel = 0; state.pending != 0 && channel < channel_count_; ++channel) {
      const std::uint64_t bit = std::uint64_t{1} << channel;
      if ((state.pending & bit) == 0) continue;
      wait(channel, sequences_[state.first_sequence + channel]);
      state.pending &= ~bit;
    }
  }

  bool is_pending(EntryId entry) const { return states_[index_of(entry)].pending != 0; }

 private:
  struct State {
    std::uint64_t pending = 0;       // bit per channel
    std::size_t first_sequence = 0;  // into sequences_
  };

  std::size_t index_of(EntryId entry) const { return first_state_[entry.slot] + entry.entry; }
  State& state_of(EntryId entry) { return states_[index_of(entry)]; }

  std::size_t channel_count_;
  std::vector<std::uint32_t> depths_;     // by slot
  std::vector<std::uint32_t> next_;       // by slot
  std::vector<std::size_t> first_state_;  // by slot
  std::vector<State> states_;             // by entry
  std::vector<std::uint64_t> sequences_;  // (entries, channels)
};

}  // namespace cohort::heap
