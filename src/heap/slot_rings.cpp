#include "heap/slot_rings.hpp"

namespace cohort::heap {

SlotRings::SlotRings(const Plan& plan, std::size_t channel_count)
    : channel_count_(channel_count), words_((channel_count + 63) / 64) {
  std::size_t entry_count = 0;
  for (const PlannedSlot& slot : plan.slots()) {
    depths_.push_back(slot.spec.depth);
    next_.push_back(0);
    leases_.push_back(slot.spec.leases);
    leases_taken_.push_back(0);
    first_entry_.push_back(entry_count);
    entry_count += slot.entries();
  }
  pending_.resize(entry_count * words_);
  sequences_.resize(entry_count * channel_count);
}

void SlotRings::continue_from(const Plan& plan, const SlotRings& previous, const Plan& before) {
  for (std::size_t slot = 0; slot < before.slots().size(); ++slot) {
    if (!(plan.slots()[slot].spec == before.slots()[slot].spec)) continue;
    next_[slot] = previous.next_[slot];
    leases_taken_[slot] = previous.leases_taken_[slot];
  }
}

EntryId SlotRings::next(SlotId slot) {
  std::uint32_t& cursor = next_.at(slot.index());
  const EntryId entry{slot.index(), cursor};
  cursor = cursor + 1 == depths_[slot.index()] ? 0 : cursor + 1;
  return entry;
}

LeaseTurn SlotRings::next_lease(SlotId slot) const {
  const std::uint64_t taken = leases_taken_.at(slot.index());
  const std::uint32_t count = leases_[slot.index()];
  const auto index = static_cast<std::uint32_t>(taken % count);
  return {{slot.index(), depths_[slot.index()] + index}, index, taken / count + 1};
}

void SlotRings::note_use(EntryId entry, std::size_t channel, std::uint64_t sequence) {
  const std::size_t index = index_of(entry);
  pending_[index * words_ + channel / 64] |= std::uint64_t{1} << channel % 64;
  sequences_[index * channel_count_ + channel] = sequence;
}

bool SlotRings::is_pending(EntryId entry) const {
  const std::size_t index = index_of(entry);
  for (std::size_t word = 0; word < words_; ++word) {
    if (pending_[index * words_ + word] != 0) return true;
  }
  return false;
}

}  // namespace cohort::heap
