#include "heap/heap_view.hpp"

#include <algorithm>

namespace cohort::heap {

std::optional<HeapOperand> HeapView::locate(const void* data, std::size_t bytes) const noexcept {
  const auto* address = static_cast<const std::byte*>(data);
  // Unsigned wrap makes addresses below the slots look far above them.
  const auto offset = static_cast<std::size_t>(reinterpret_cast<std::uintptr_t>(address) -
                                               reinterpret_cast<std::uintptr_t>(slots_));
  const auto slots = plan_->slots();
  const auto after = std::upper_bound(
      slots.begin(), slots.end(), offset,
      [](std::size_t value, const PlannedSlot& slot) { return value < slot.offset; });
  if (after == slots.begin()) return std::nullopt;
  const PlannedSlot& slot = *(after - 1);
  const std::size_t within_slot = offset - slot.offset;
  if (within_slot >= slot.entry_bytes * slot.spec.depth) return std::nullopt;
  const std::size_t entry = within_slot / slot.entry_bytes;
  HeapOperand found;
  found.entry = {static_cast<std::uint32_t>(after - 1 - slots.begin()),
                 static_cast<std::uint32_t>(entry)};
  found.offset = offset;
  found.runs_past_end = bytes > slot.entry_bytes - within_slot % slot.entry_bytes;
  return found;
}

}  // namespace cohort::heap
