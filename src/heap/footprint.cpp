#include "heap/footprint.hpp"

#include <algorithm>
#include <ostream>
#include <utility>

#include "backend/cuda/nccl/version.hpp"
#include "backend/host/control_segment.hpp"
#include "base/bytes.hpp"

namespace cohort {
namespace {

void add_slot_rows(const PlannedSlot& slot, const heap::SlotRegion& region, bool on_device,
                   std::vector<FootprintRow>& rows) {
  rows.push_back({FootprintRow::Kind::own, slot.name, slot.spec.groups, region.offset, slot.bytes(),
                  slot.spec.stage});
  if (slot.spec.leases == 0 || on_device) return;  // then its lease words are host words
  rows.push_back({FootprintRow::Kind::sync, "leases of " + slot.name, slot.spec.groups,
                  region.lease_offset, heap::lease_bytes(slot), slot.spec.stage});
}

void add_channel_rows(const heap::ChannelRegion& region, std::vector<FootprintRow>& rows) {
  const std::string suffix =
      std::string(to_string(region.kind)) + " lane " + std::to_string(region.lane.index());
  rows.push_back({FootprintRow::Kind::sync,
                  "headers of " + suffix,
                  {region.kind},
                  region.sync_offset,
                  region.sync_bytes(),
                  region.section});
  rows.push_back({FootprintRow::Kind::scratch,
                  "scratch of " + suffix,
                  {region.kind},
                  region.scratch_offset,
                  region.scratch_bytes(),
                  region.section});
  if (region.device_members != 0) return;
  rows.push_back({FootprintRow::Kind::staging,
                  "staging of " + suffix,
                  {region.kind},
                  region.staging_offset,
                  region.staging_bytes(),
                  region.section});
  const heap::SendRecvRegion& messages = region.messages;
  if (messages.peers == 0) return;
  rows.push_back({FootprintRow::Kind::sync,
                  "send/recv words of " + suffix,
                  {region.kind},
                  messages.sync_offset,
                  messages.sync_bytes(),
                  region.section});
  rows.push_back({FootprintRow::Kind::scratch,
                  "send/recv scratch of " + suffix,
                  {region.kind},
                  messages.scratch_offset,
                  messages.scratch_bytes(),
                  region.section});
  rows.push_back({FootprintRow::Kind::staging,
                  "send/recv staging of " + suffix,
                  {region.kind},
                  messages.staging_offset,
                  messages.staging_bytes(),
                  region.section});
}

/// A rank is in one instance of a kind at most.
void add_nccl_rows(const Plan& plan, const heap::ArenaLayout& layout, Footprint& result) {
  if (plan.options().nccl == NcclUse::off) return;
  const cuda::nccl::MeasuredBytes measured = cuda::nccl::measured_bytes();
  std::vector<std::size_t> of_stage(plan.layout().sizes().pp);
  for (const heap::ChannelRegion& region : layout.channels) {
    if (region.device_members < 2) continue;
    std::size_t& sum = of_stage[region.section.value_or(0)];
    const bool is_first = result.nccl_bytes == 0 && sum == 0;
    const std::size_t bytes = is_first ? measured.first : measured.later;
    result.rows.push_back({FootprintRow::Kind::nccl,
                           "communicator of " + std::string(to_string(region.kind)) + " lane " +
                               std::to_string(region.lane.index()) + ", as measured with NCCL " +
                               cuda::nccl::to_string(measured.version),
                           {region.kind},
                           0,
                           bytes,
                           region.section});
    if (region.section) {
      sum += bytes;
    } else {
      result.nccl_bytes += bytes;
    }
  }
  result.nccl_bytes += *std::max_element(of_stage.begin(), of_stage.end());
}

}  // namespace

std::string_view heap::kind_name(FootprintRow::Kind kind) noexcept {
  switch (kind) {
    case FootprintRow::Kind::own: return "own";
    case FootprintRow::Kind::pool: return "pool";
    case FootprintRow::Kind::sync: return "sync";
    case FootprintRow::Kind::scratch: return "scratch";
    case FootprintRow::Kind::staging: return "staging";
    case FootprintRow::Kind::padding: return "padding";
    case FootprintRow::Kind::retired: return "retired";
    case FootprintRow::Kind::control: return "control";
    case FootprintRow::Kind::nccl: return "nccl";
  }
  return "unknown";
}

Footprint heap::footprint_of(const Plan& plan, const ArenaLayout& layout) {
  Footprint result;
  const bool on_device = plan.options().memory == Memory::cuda;
  if (on_device) {
    result.rows.push_back({FootprintRow::Kind::sync,
                           "words of the session",
                           {GroupKind::world},
                           0,
                           first_offset(plan.options().memory)});
  }
  for (std::size_t i = 0; i < plan.slots().size(); ++i) {
    add_slot_rows(plan.slots()[i], layout.slots[i], on_device, result.rows);
  }
  for (std::size_t i = 0; i < plan.pools().size(); ++i) {
    const PlannedPool& pool = plan.pools()[i];
    std::vector<GroupKind> groups;
    for (const PoolGroup& group : pool.spec.groups) groups.push_back(group.kind);
    result.rows.push_back({FootprintRow::Kind::pool, pool.name, std::move(groups),
                           layout.pool_offsets[i], pool.bytes, std::nullopt});
  }
  for (const ChannelRegion& region : layout.channels) add_channel_rows(region, result.rows);
  for (const UnusedRegion& region : layout.unused) {
    const auto kind = region.why == UnusedRegion::Why::retired ? FootprintRow::Kind::retired
                                                               : FootprintRow::Kind::padding;
    result.rows.push_back({kind, region.name, {}, region.offset, region.bytes, region.section});
  }
  result.granule_bytes = granule_of(plan.options().memory);
  result.arena_bytes = layout.arena.bytes + layout.private_slots.bytes;
  result.peak_bytes = result.arena_bytes;
  result.virtual_bytes = layout.arena.reserved_bytes + layout.private_slots.reserved_bytes +
                         layout.host_words.reserved_bytes;
  result.host_bytes = layout.host_words.bytes;
  if (on_device) {
    result.rows.push_back({FootprintRow::Kind::control,
                           "host memory: leases and notes of calls",
                           {GroupKind::world},
                           0,
                           result.host_bytes});
  }
  result.control_bytes =
      align_up(host::ControlSegment::bytes_for(plan.layout().world_size()), kGranuleBytes);
  result.rows.push_back({FootprintRow::Kind::control,
                         "control segment (rank 0)",
                         {GroupKind::world},
                         0,
                         result.control_bytes});
  add_nccl_rows(plan, layout, result);
  return result;
}

Footprint footprint(const Plan& plan) {
  return heap::footprint_of(plan, heap::arena_layout(plan));
}

std::ostream& operator<<(std::ostream& stream, const Footprint& footprint) {
  for (const FootprintRow& row : footprint.rows) {
    std::string groups;
    for (const GroupKind kind : row.groups) {
      if (!groups.empty()) groups += ",";
      groups += to_string(kind);
    }
    stream << heap::kind_name(row.kind) << "  " << row.name;
    if (!row.groups.empty()) stream << "  {" << groups << "}";
    if (row.stage) stream << "  stage " << *row.stage;
    stream << "  offset " << row.offset << "  " << format_bytes(row.bytes) << '\n';
  }
  return stream << "arena of every rank: " << format_bytes(footprint.arena_bytes) << " of "
                << format_bytes(footprint.virtual_bytes) << " virtual, at most "
                << format_bytes(footprint.peak_bytes) << " while committing; "
                << (footprint.host_bytes == 0
                        ? std::string()
                        : format_bytes(footprint.host_bytes) + " of host memory beside it; ")
                << (footprint.nccl_bytes == 0 ? std::string()
                                              : "about " + format_bytes(footprint.nccl_bytes) +
                                                    " of the device for NCCL; ")
                << "control segment: " << format_bytes(footprint.control_bytes) << '\n';
}

}  // namespace cohort
