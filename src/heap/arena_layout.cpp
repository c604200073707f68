#include "heap/arena_layout.hpp"

#include <algorithm>

namespace cohort::heap {
namespace {

std::size_t largest_operand(const Plan& plan, GroupKind kind) {
  const std::uint32_t bit = 1U << static_cast<unsigned>(kind);
  std::size_t largest = 0;
  for (const PlannedSlot& slot : plan.slots()) {
    if ((slot.group_mask & bit) != 0) largest = std::max(largest, slot.entry_bytes);
  }
  return largest;
}

}  // namespace

ArenaLayout arena_layout(const Plan& plan) {
  ArenaLayout layout;
  layout.slots_in_arena = plan.options().symmetry == Symmetry::on;
  for (const PlannedSlot& slot : plan.slots()) {
    layout.slot_bytes = slot.offset + slot.entry_bytes * slot.spec.depth;
  }
  std::size_t end = layout.slots_in_arena ? layout.slot_bytes : 0;
  const auto claim = [&end](std::size_t bytes) {
    const std::size_t offset = end;
    end = align_up(end + bytes, kAlignmentBytes);
    return offset;
  };
  for (const GroupKind kind : all_group_kinds()) {
    if ((plan.group_mask() & (1U << static_cast<unsigned>(kind))) == 0) continue;
    for (std::uint32_t lane = 0; lane < plan.options().lanes; ++lane) {
      ChannelRegion region;
      region.kind = kind;
      region.lane = Lane{lane};
      region.staging_entry_bytes = largest_operand(plan, kind);
      region.sync_offset = claim(kSyncBytes);
      region.scratch_offset = claim(kPlaceCount * kPlaceBytes);
      region.staging_offset = claim(kPlaceCount * region.staging_entry_bytes);
      layout.channels.push_back(region);
    }
  }
  layout.bytes = end;
  return layout;
}

}  // namespace cohort::heap
