#pragma once

// Which entry of a slot comes next, and who may still be reading an entry: pure bookkeeping.
//
// Invariants:
//   1. The entry that `next` yields depends on how often `next` was called for that slot, and on
//      nothing else: the same on every rank of an SPMD program.
//   2. An entry's pending uses hold, per channel, the sequence of the last call in which peers
//      could read this rank's copy of it. It is free once every member of each of those channels
//      has finished that call, whichever group takes it next. A channel is here any stream of calls
//      with a sequence of its own: a (group, lane), or one that sends to a peer.

#include <bit>
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

/// One holding of one of a slot's entries for leases.
struct LeaseTurn {
  EntryId entry;
  std::uint32_t index = 0;  ///< among the slot's entries for leases
  std::uint64_t use = 0;    ///< of this entry; the first is 1
};

class SlotRings {
 public:
  SlotRings(const Plan& plan, std::size_t channel_count);
  /// Goes on where the rings of an earlier plan are, in slots that are as they were. Requires: no
  /// entry is being read, so that no use is pending.
  void continue_from(const Plan& plan, const SlotRings& previous, const Plan& before);

  /// The slot's next entry in ring order.
  EntryId next(SlotId slot);

  /// The lease that comes next, a function of how often `count_lease` was called for that slot.
  /// Requires: the slot has leases.
  LeaseTurn next_lease(SlotId slot) const;
  void count_lease(SlotId slot) { ++leases_taken_.at(slot.index()); }

  /// Notes that peers may read this rank's copy of `entry` until all have finished call `sequence`
  /// of `channel`.
  void note_use(EntryId entry, std::size_t channel, std::uint64_t sequence);

  /// Calls `wait(channel, sequence)` for every pending use of `entry`, and forgets each.
  template <typename Wait>
  void settle(EntryId entry, const Wait& wait) {
    const std::size_t index = index_of(entry);
    for (std::size_t word = 0; word < words_; ++word) {
      std::uint64_t& pending = pending_[index * words_ + word];
      while (pending != 0) {
        const auto bit = static_cast<std::size_t>(std::countr_zero(pending));
        const std::size_t channel = word * 64 + bit;
        wait(channel, sequences_[index * channel_count_ + channel]);
        pending &= ~(std::uint64_t{1} << bit);
      }
    }
  }

  bool is_pending(EntryId entry) const;

 private:
  std::size_t index_of(EntryId entry) const { return first_entry_[entry.slot] + entry.entry; }

  std::size_t channel_count_;
  std::size_t words_;                        // of 64 channels each
  std::vector<std::uint32_t> depths_;        // by slot
  std::vector<std::uint32_t> next_;          // by slot
  std::vector<std::uint32_t> leases_;        // by slot, how many there are
  std::vector<std::uint64_t> leases_taken_;  // by slot
  std::vector<std::size_t> first_entry_;     // by slot, among all entries
  std::vector<std::uint64_t> pending_;       // (entries, words), a bit per channel
  std::vector<std::uint64_t> sequences_;     // (entries, channels)
};

}  // namespace cohort::heap
