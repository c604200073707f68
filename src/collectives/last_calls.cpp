#include "collectives/last_calls.hpp"

#include <optional>

#include "collectives/header.hpp"

namespace cohort::collectives {

std::string describe_last_calls(WorldRank rank, const Layout& groups,
                                std::span<const heap::ChannelRegion> channels,
                                const ReadLane& read) {
  std::string text;
  std::optional<GroupKind> last_kind;
  for (const heap::ChannelRegion& region : channels) {
    if (!heap::is_held_by(region.section, groups.pipeline_stage(rank))) continue;
    const auto ranks = groups.group_of(region.kind, rank);
    if (ranks.size() < 2) continue;
    if (last_kind != region.kind) {
      text += text.empty() ? " " : "; ";
      text += describe(region.kind, ranks);
    } else {
      text += ",";
    }
    last_kind = region.kind;
    text += " lane " + std::to_string(region.lane.index()) + " " + read(region, ranks);
  }
  if (text.empty()) return text;
  return "last calls of rank " + std::to_string(rank.index()) + ":" + text;
}

}  // namespace cohort::collectives
