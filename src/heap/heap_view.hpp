#pragma once

// Finds the planned entry that an operand lies in: pure address arithmetic over the plan.

#include <cstddef>
#include <optional>

#include <cohort/plan.hpp>

#include "heap/slot_rings.hpp"

namespace cohort::heap {

/// An operand inside an entry.
struct HeapOperand {
  EntryId entry;
  std::size_t offset = 0;      ///< of the operand, from the start of the slots
  bool runs_past_end = false;  ///< begins in the entry, but does not end in it
};

class HeapView {
 public:
  /// `slots` is where entry 0 of the first slot lies in this rank's memory.
  HeapView(const Plan& plan, std::byte* slots) : plan_(&plan), slots_(slots) {}

  /// The entry that holds `data`, or nothing for memory outside all slots.
  std::optional<HeapOperand> locate(const void* data, std::size_t bytes) const noexcept;

  std::byte* address_of(EntryId entry) const {
    const PlannedSlot& slot = plan_->slots()[entry.slot];
    return slots_ + slot.offset + slot.entry_bytes * entry.entry;
  }

 private:
  const Plan* plan_;
  std::byte* slots_;
};

}  // namespace cohort::heap
