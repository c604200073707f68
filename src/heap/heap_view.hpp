#pragma once

// Finds the planned entry that an operand lies in: pure address arithmetic over the plan.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <cohort/plan.hpp>

#include "heap/arena_layout.hpp"
#include "heap/pools.hpp"
#include "heap/slot_rings.hpp"

namespace cohort::heap {

/// An operand inside an entry, or inside a block of a pool.
struct HeapOperand {
  EntryId entry;
  BlockId block;                 ///< exists if the operand lies in a block and not in an entry
  std::size_t block_offset = 0;  ///< of the block in its pool
  std::size_t offset = 0;        ///< of the operand, from the start of the slots
  bool runs_past_end = false;    ///< begins in it, but does not end in it
};

/// The check of an operand's group, once the slot that it lies in is found.
inline bool is_planned_for(const PlannedSlot& slot, GroupKind kind) noexcept {
  return (slot.group_mask & (1U << static_cast<unsigned>(kind))) != 0;
}

class HeapView {
 public:
  /// The slots that ranks of pipeline stage `stage` hold. `slots` is where offset 0 of the slots
  /// lies in this rank's memory.
  HeapView(const Plan& plan, const ArenaLayout& layout, std::uint32_t stage, std::byte* slots);

  /// The entry that holds `data`, or nothing for memory outside all slots.
  std::optional<HeapOperand> locate(const void* data, std::size_t bytes) const noexcept;
  /// The same, into `found`, of which a slot's operand has no block; false leaves it alone.
  bool locate(const void* data, std::size_t bytes, HeapOperand& found) const noexcept;

  /// What is wrong with an operand outside all slots and pools that lies among them nevertheless:
  /// in what an earlier plan had there, or in no place for operands at all.
  std::optional<std::string> find_stray(const void* data) const;

  /// Requires: ranks of this stage hold the slot.
  std::byte* address_of(EntryId entry) const {
    return slots_ + offsets_[entry.slot] + entry_bytes_[entry.slot] * entry.entry;
  }

 private:
  struct Span {
    std::size_t begin;
    std::size_t bytes;
    std::size_t entry_bytes;
    std::uint32_t slot;
  };

  struct Retired {
    std::size_t begin;
    std::size_t bytes;
    std::string name;
  };

  std::byte* slots_;
  std::size_t bytes_;                     // of all that slots and pools lie in
  std::vector<Retired> retired_;          // slots and pools of earlier plans
  std::vector<Span> spans_;               // of this stage's slots, by address
  std::vector<std::size_t> offsets_;      // by slot
  std::vector<std::size_t> entry_bytes_;  // by slot
};

}  // namespace cohort::heap
