#include "collectives/cuda/device_calls.hpp"

#include <cstdint>

#include "collectives/cuda/channel_notes.hpp"
#include "collectives/last_calls.hpp"

namespace cohort::cuda {
namespace {

std::string last_call(const ChannelNotes& notes) {
  std::uint64_t number = 0;
  for (int look = 0; look < collectives::kLooks; ++look) {
    number = notes.made.load(std::memory_order_acquire);
    if (number == 0) return "none";
    const auto seen = notes.call_of(number).load_of(number);
    if (!seen) continue;
    std::string text = "call " + std::to_string(number) + " " + collectives::describe(seen->record);
    if (seen->made == Made::refused) text += ", refused";
    if (seen->made == Made::captured) text += ", captured";
    return text;
  }
  return "call " + std::to_string(number);
}

}  // namespace

std::string last_calls_of(WorldRank rank, const Layout& groups,
                          std::span<const heap::ChannelRegion> channels, const Arena& host_words) {
  return collectives::describe_last_calls(
      rank, groups, channels, [&](const heap::ChannelRegion& lane, std::span<const WorldRank>) {
        const std::byte* const notes = host_words.of(rank) + lane.notes_offset;
        return last_call(*reinterpret_cast<const ChannelNotes*>(notes));
      });
}

}  // namespace cohort::cuda
