#include "heap/heap_view.hpp"

#include <algorithm>

namespace cohort::heap {
namespace {

bool is_name_in(const Plan& plan, const std::string& name) {
  const auto has_name = [&name](const auto& planned) { return planned.name == name; };
  return std::any_of(plan.slots().begin(), plan.slots().end(), has_name) ||
         std::any_of(plan.pools().begin(), plan.pools().end(), has_name);
}

}  // namespace

HeapView::HeapView(const Plan& plan, const ArenaLayout& layout, std::uint32_t stage,
                   std::byte* slots)
    : slots_(slots),
      bytes_(layout.slots_in_arena ? layout.arena.bytes : layout.private_slots.bytes) {
  for (std::uint32_t i = 0; i < plan.slots().size(); ++i) {
    const PlannedSlot& slot = plan.slots()[i];
    offsets_.push_back(layout.slots[i].offset);
    entry_bytes_.push_back(slot.entry_bytes);
    if (!slot.exists_in(stage)) continue;
    spans_.push_back({layout.slots[i].offset, slot.bytes(), slot.entry_bytes, i});
  }
  for (const UnusedRegion& region : layout.unused) {
    if (region.why != UnusedRegion::Why::retired || !is_held_by(region.section, stage)) continue;
    if (!is_name_in(plan, region.name)) continue;  // of channels or leases, with other offsets
    retired_.push_back({region.offset, region.bytes, region.name});
  }
  // As declared, unless a later plan has moved some of them.
  std::sort(spans_.begin(), spans_.end(),
            [](const Span& a, const Span& b) { return a.begin < b.begin; });
}

std::optional<std::string> HeapView::find_stray(const void* data) const {
  const std::size_t offset =
      reinterpret_cast<std::uintptr_t>(data) - reinterpret_cast<std::uintptr_t>(slots_);
  if (offset >= bytes_) return std::nullopt;
  for (const Retired& old : retired_) {
    if (offset - old.begin >= old.bytes) continue;
    return "lies where '" + old.name +
           "' lay before a recommit changed it; take or allocate it again after the recommit";
  }
  return "lies in the arena, but in no slot and no pool of the plan";
}

bool HeapView::locate(const void* data, std::size_t bytes, HeapOperand& found) const noexcept {
  const auto* address = static_cast<const std::byte*>(data);
  // Unsigned wrap makes addresses below the slots look far above them.
  const auto offset = static_cast<std::size_t>(reinterpret_cast<std::uintptr_t>(address) -
                                               reinterpret_cast<std::uintptr_t>(slots_));
  const auto after =
      std::upper_bound(spans_.begin(), spans_.end(), offset,
                       [](std::size_t value, const Span& span) { return value < span.begin; });
  if (after == spans_.begin()) return false;
  const Span& span = *(after - 1);
  const std::size_t within_slot = offset - span.begin;
  if (within_slot >= span.bytes) return false;
  std::size_t entry = 0;
  std::size_t within_entry = within_slot;
  if (within_entry >= span.entry_bytes) {  // a division takes longer than the rest of this
    entry = within_slot / span.entry_bytes;
    within_entry -= entry * span.entry_bytes;
  }
  found.entry = {span.slot, static_cast<std::uint32_t>(entry)};
  found.offset = offset;
  found.runs_past_end = bytes > span.entry_bytes - within_entry;
  return true;
}

std::optional<HeapOperand> HeapView::locate(const void* data, std::size_t bytes) const noexcept {
  HeapOperand found;
  if (!locate(data, bytes, found)) return std::nullopt;
  return found;
}

}  // namespace cohort::heap
