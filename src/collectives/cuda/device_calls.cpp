#include "collectives/cuda/device_calls.hpp"

#include <cstdint>
#include <optional>

#include "collectives/cuda/channel_notes.hpp"

namespace cohort::cuda {
namespace {

// A rank that is late makes few calls; one that makes them as fast as they can be read is told of
// without its words.
constexpr int kLooks = 16;

std::string last_call(const ChannelNotes& notes) {
  std::uint64_t number = 0;
  for (int look = 0; look < kLooks; ++look) {
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
  std::string text;
  std::optional<GroupKind> last_kind;
  for (const heap::ChannelRegion& region : channels) {
    if (!heap::is_held_by(region.section, groups.pipeline_stage(rank))) continue;
    const auto ranks = groups.group_of(region.kind, rank);
    if (ranks.size() < 2) continue;
    if (last_kind != region.kind) {
      text += text.empty() ? " " : "; ";
      text += collectives::describe(region.kind, ranks);
    } else {
      text += ",";
    }
    last_kind = region.kind;
    const auto* const notes =
        reinterpret_cast<const ChannelNotes*>(host_words.of(rank) + region.notes_offset);
    text += " lane " + std::to_string(region.lane.index()) + " " + last_call(*notes);
  }
  if (text.empty()) return text;
  return "last calls of rank " + std::to_string(rank.index()) + ":" + text;
}

}  // namespace cohort::cuda
