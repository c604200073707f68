#include "heap/slot_rings.hpp"

#include <cohort/error.hpp>

namespace cohort::heap {

SlotRings::SlotRings(const Plan& plan, std::size_t channel_count) : channel_count_(channel_count) {
  if (channel_count > 64) {
    throw Error(ErrorCode::usage,
                "the plan has " + std::to_string(channel_count) +
                    " (group, lane) pairs, more than 64; use fewer lanes",
                std::nullopt, "commit");
  }
  for (const PlannedSlot& slot : plan.slots()) {
    depths_.push_back(slot.spec.depth);
    next_.push_back(0);
    first_state_.push_back(states_.size());
    states_.resize(states_.size() + slot.entries());
  }
  for (std::size_t i = 0; i < states_.size(); ++i) states_[i].first_sequence = i * channel_count;
  sequences_.resize(states_.size() * channel_count);
}

EntryId SlotRings::next(SlotId slot) {
  std::uint32_t& cursor = next_.at(slot.index());
  const EntryId entry{slot.index(), cursor};
  cursor = cursor + 1 == depths_[slot.index()] ? 0 : cursor + 1;
  return entry;
}

void SlotRings::note_use(EntryId entry, std::size_t channel, std::uint64_t sequence) {
  State& state = state_of(entry);
  state.pending |= std::uint64_t{1} << channel;
  sequences_[state.first_sequence + channel] = sequence;
}

}  // namespace cohort::heap
