#include <ostream>

#include <cohort/plan.hpp>

#include "backend/host/control_segment.hpp"
#include "base/bytes.hpp"
#include "heap/arena_layout.hpp"

namespace cohort {
namespace {

constexpr std::size_t kGranuleBytes = 4096;  // pages of the host backend

std::string_view kind_name(FootprintRow::Kind kind) {
  switch (kind) {
    case FootprintRow::Kind::own: return "own";
    case FootprintRow::Kind::sync: return "sync";
    case FootprintRow::Kind::scratch: return "scratch";
    case FootprintRow::Kind::staging: return "staging";
    case FootprintRow::Kind::control: return "control";
  }
  return "unknown";
}

void add_channel_rows(const heap::ChannelRegion& region, std::vector<FootprintRow>& rows) {
  const std::string suffix =
      std::string(to_string(region.kind)) + " lane " + std::to_string(region.lane.index());
  rows.push_back({FootprintRow::Kind::sync,
                  "headers of " + suffix,
                  {region.kind},
                  region.sync_offset,
                  heap::kSyncBytes});
  rows.push_back({FootprintRow::Kind::scratch,
                  "scratch of " + suffix,
                  {region.kind},
                  region.scratch_offset,
                  heap::kPlaceCount * heap::kPlaceBytes});
  rows.push_back({FootprintRow::Kind::staging,
                  "staging of " + suffix,
                  {region.kind},
                  region.staging_offset,
                  heap::kPlaceCount * region.staging_entry_bytes});
}

}  // namespace

Footprint footprint(const Plan& plan) {
  const heap::ArenaLayout layout = heap::arena_layout(plan);
  Footprint result;
  for (const PlannedSlot& slot : plan.slots()) {
    result.rows.push_back({FootprintRow::Kind::own, slot.name, slot.spec.groups, slot.offset,
                           slot.entry_bytes * slot.spec.depth});
  }
  for (const heap::ChannelRegion& region : layout.channels) add_channel_rows(region, result.rows);
  result.granule_bytes = kGranuleBytes;
  result.arena_bytes = heap::align_up(layout.bytes, kGranuleBytes);
  if (!layout.slots_in_arena) {
    result.arena_bytes += heap::align_up(layout.slot_bytes, kGranuleBytes);
  }
  result.control_bytes =
      heap::align_up(host::ControlSegment::bytes_for(plan.layout().world_size()), kGranuleBytes);
  result.rows.push_back({FootprintRow::Kind::control,
                         "control segment (rank 0)",
                         {GroupKind::world},
                         0,
                         result.control_bytes});
  return result;
}

std::ostream& operator<<(std::ostream& stream, const Footprint& footprint) {
  for (const FootprintRow& row : footprint.rows) {
    std::string groups;
    for (const GroupKind kind : row.groups) {
      if (!groups.empty()) groups += ",";
      groups += to_string(kind);
    }
    stream << kind_name(row.kind) << "  " << row.name << "  {" << groups << "}  offset "
           << row.offset << "  " << format_bytes(row.bytes) << '\n';
  }
  return stream << "arena of every rank: " << format_bytes(footprint.arena_bytes)
                << ", control segment: " << format_bytes(footprint.control_bytes) << '\n';
}

}  // namespace cohort
