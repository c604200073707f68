#include "heap/arena_layout.hpp"

#include <algorithm>

#include <cohort/error.hpp>

#include "base/bytes.hpp"
#include "heap/device_channel.hpp"
#include "heap/reserve.hpp"

namespace cohort::heap {
namespace {

std::uint32_t bit_of(GroupKind kind) {
  return 1U << static_cast<unsigned>(kind);
}

std::string name_of(const ChannelRegion& region) {
  return std::string(to_string(region.kind)) + " lane " + std::to_string(region.lane.index());
}

/// Hands out the offsets of one new segment, section by section.
class SegmentPacker {
 public:
  SegmentPacker(std::size_t begin, std::uint32_t stage_count, std::size_t granule_bytes)
      : granule_bytes_(granule_bytes), common_(begin), stages_(stage_count, begin) {}

  std::size_t claim(Section section, std::size_t bytes) {
    std::size_t& end = section ? stages_[*section] : common_;
    const std::size_t offset = end;
    end = align_up(end + bytes, kAlignmentBytes);
    return offset;
  }
  /// The stages' sections begin where the common one has come to.
  void open_stages() { std::fill(stages_.begin(), stages_.end(), common_); }
  /// What is common goes on behind the longest stage.
  void close_stages(std::vector<UnusedRegion>& unused) {
    const std::size_t end = *std::max_element(stages_.begin(), stages_.end());
    for (std::uint32_t stage = 0; stage < stages_.size(); ++stage) {
      add_padding(stages_[stage], end, stage, unused);
    }
    common_ = end;
  }
  /// The end of the segment, a whole page; the first segment has one at least.
  std::size_t finish(std::vector<UnusedRegion>& unused) const {
    const std::size_t end = std::max(align_up(common_, granule_bytes_), granule_bytes_);
    add_padding(common_, end, std::nullopt, unused);
    return end;
  }

 private:
  static void add_padding(std::size_t begin, std::size_t end, Section section,
                          std::vector<UnusedRegion>& unused) {
    if (begin == end) return;
    unused.push_back({UnusedRegion::Why::padding,
                      section ? "up to the largest stage" : "up to a whole page", section, begin,
                      end - begin});
  }

  std::size_t granule_bytes_;
  std::size_t common_;
  std::vector<std::size_t> stages_;
};

/// Largest operand that ranks of `section` may pass to a group of `kind`.
std::size_t largest_operand(const Plan& plan, GroupKind kind, Section section) {
  std::size_t largest = 0;
  for (const PlannedSlot& slot : plan.slots()) {
    const bool counts =
        (slot.group_mask & bit_of(kind)) != 0 && (!slot.spec.stage || slot.spec.stage == section);
    if (counts) largest = std::max(largest, slot.entry_bytes);
  }
  for (const PlannedPool& pool : plan.pools()) {
    largest = std::max(largest, pool.block_bytes_max(kind));
  }
  return largest;
}

SendRecvRegion send_recv_region(const Plan& plan, GroupKind kind, Section section) {
  SendRecvRegion region;
  for (const PlannedSendRecv& planned : plan.send_recvs()) {
    if (planned.kind != kind) continue;
    region.peers = plan.layout().group_size(kind);
    region.staging_entry_bytes = std::max(largest_operand(plan, kind, section),
                                          align_up(planned.spec.staged_bytes_max, kAlignmentBytes));
  }
  return region;
}

/// Where a kind needs channels: one common section, or each stage that names it.
std::vector<Section> sections_of(const Plan& plan, GroupKind kind) {
  const auto stage_names_it = [&](const PlannedSlot& slot) {
    return slot.spec.stage && (slot.group_mask & bit_of(kind)) != 0;
  };
  const auto slots = plan.slots();
  if ((plan.group_mask() & bit_of(kind)) == 0) return {};
  if (std::none_of(slots.begin(), slots.end(), stage_names_it)) return {std::nullopt};
  std::vector<Section> sections;
  for (std::uint32_t stage = 0; stage < plan.layout().sizes().pp; ++stage) {
    if ((plan.group_mask(stage) & bit_of(kind)) != 0) sections.emplace_back(stage);
  }
  return sections;
}

std::vector<ChannelRegion> channels_of(const Plan& plan) {
  std::vector<ChannelRegion> channels;
  for (const GroupKind kind : all_group_kinds()) {
    for (const Section section : sections_of(plan, kind)) {
      for (std::uint32_t lane = 0; lane < plan.options().lanes; ++lane) {
        ChannelRegion region;
        region.kind = kind;
        region.lane = Lane{lane};
        region.section = section;
        region.staging_entry_bytes = largest_operand(plan, kind, section);
        region.messages = send_recv_region(plan, kind, section);
        if (plan.options().memory == Memory::cuda) {
          region.device_members = plan.layout().group_size(kind);
        }
        channels.push_back(region);
      }
    }
  }
  return channels;
}

void place(ChannelRegion& region, SegmentPacker& packer) {
  region.sync_offset = packer.claim(region.section, region.sync_bytes());
  region.scratch_offset = packer.claim(region.section, region.scratch_bytes());
  region.staging_offset = packer.claim(region.section, region.staging_bytes());
  SendRecvRegion& messages = region.messages;
  if (messages.peers == 0) return;
  messages.sync_offset = packer.claim(region.section, messages.sync_bytes());
  messages.scratch_offset = packer.claim(region.section, messages.scratch_bytes());
  messages.staging_offset = packer.claim(region.section, messages.staging_bytes());
}

/// Builds one layout: what can stay is copied from the previous one, the rest is packed.
class LayoutBuilder {
 public:
  LayoutBuilder(const ArenaLayout& previous, const Plan* before, const Plan& plan)
      : previous_(previous),
        before_(before),
        plan_(plan),
        on_device_(plan.options().memory == Memory::cuda),
        arena_(std::max(previous.arena.bytes, first_offset(plan.options().memory)),
               plan.layout().sizes().pp, granule_of(plan.options().memory)),
        private_(previous.private_slots.bytes, plan.layout().sizes().pp, kGranuleBytes),
        words_(previous.host_words.bytes, 1, kGranuleBytes) {
    layout_.slots_in_arena = plan.options().symmetry == Symmetry::on;
    layout_.arena = previous.arena;
    layout_.private_slots = previous.private_slots;
    layout_.host_words = previous.host_words;
    layout_.slots.resize(plan.slots().size());
    layout_.channels = channels_of(plan);
    layout_.unused = previous.unused;
  }

  ArenaLayout run() {
    keep_or_retire_slots();
    keep_or_retire_pools();
    keep_or_retire_channels();
    SegmentPacker& slots = layout_.slots_in_arena ? arena_ : private_;
    place_slots(slots, false);
    slots.open_stages();
    if (!layout_.slots_in_arena) arena_.open_stages();
    place_slots(slots, true);
    place_words(true);
    arena_.close_stages(layout_.unused);
    if (!layout_.slots_in_arena) private_.close_stages(layout_.unused);
    place_pools(slots);
    place_words(false);
    layout_.arena.bytes = arena_.finish(layout_.unused);
    if (!layout_.slots_in_arena) layout_.private_slots.bytes = private_.finish(layout_.unused);
    std::vector<UnusedRegion> not_told;  // one row speaks of all host words
    if (on_device_) layout_.host_words.bytes = words_.finish(not_told);
    return std::move(layout_);
  }

 private:
  const PlannedSlot* slot_before(std::size_t index) const {
    if (before_ == nullptr || index >= before_->slots().size()) return nullptr;
    return &before_->slots()[index];
  }

  void retire(const std::string& name, Section section, std::size_t offset, std::size_t bytes) {
    if (bytes == 0) return;
    layout_.unused.push_back({UnusedRegion::Why::retired, name, section, offset, bytes});
  }

  void keep_or_retire_slots() {
    slot_is_new_.assign(plan_.slots().size(), true);
    for (std::size_t i = 0; i < plan_.slots().size(); ++i) {
      const PlannedSlot* const old = slot_before(i);
      if (old == nullptr) continue;
      const SlotRegion& region = previous_.slots[i];
      if (old->spec == plan_.slots()[i].spec) {
        layout_.slots[i] = region;
        slot_is_new_[i] = false;
        continue;
      }
      retire(old->name, old->spec.stage, region.offset, old->bytes());
      if (on_device_) continue;
      retire("leases of " + old->name, old->spec.stage, region.lease_offset, lease_bytes(*old));
    }
  }

  void keep_or_retire_pools() {
    layout_.pool_offsets.resize(plan_.pools().size());
    pool_is_new_.assign(plan_.pools().size(), true);
    if (before_ == nullptr) return;
    for (std::size_t i = 0; i < before_->pools().size() && i < plan_.pools().size(); ++i) {
      const PlannedPool& old = before_->pools()[i];
      if (old.bytes == plan_.pools()[i].bytes) {
        layout_.pool_offsets[i] = previous_.pool_offsets[i];
        pool_is_new_[i] = false;
        continue;
      }
      retire(old.name, std::nullopt, previous_.pool_offsets[i], old.bytes);
    }
  }

  void keep_or_retire_channels() {
    channel_is_new_.assign(layout_.channels.size(), true);
    for (const ChannelRegion& old : previous_.channels) {
      const auto same = [&](const ChannelRegion& region) {
        return region.kind == old.kind && region.lane == old.lane &&
               region.section == old.section &&
               region.staging_entry_bytes == old.staging_entry_bytes &&
               region.messages.peers == old.messages.peers &&
               region.messages.staging_entry_bytes == old.messages.staging_entry_bytes;
      };
      const auto kept = std::find_if(layout_.channels.begin(), layout_.channels.end(), same);
      if (kept == layout_.channels.end()) {
        retire(name_of(old), old.section, old.sync_offset, old.bytes());
        continue;
      }
      *kept = old;
      channel_is_new_[static_cast<std::size_t>(kept - layout_.channels.begin())] = false;
    }
  }

  void place_slots(SegmentPacker& packer, bool of_stages) {
    for (std::size_t i = 0; i < plan_.slots().size(); ++i) {
      const PlannedSlot& slot = plan_.slots()[i];
      if (!slot_is_new_[i] || slot.spec.stage.has_value() != of_stages) continue;
      layout_.slots[i].offset = packer.claim(slot.spec.stage, slot.bytes());
    }
  }

  void place_pools(SegmentPacker& packer) {
    for (std::size_t i = 0; i < plan_.pools().size(); ++i) {
      if (!pool_is_new_[i]) continue;
      layout_.pool_offsets[i] = packer.claim(std::nullopt, plan_.pools()[i].bytes);
    }
  }

  void place_words(bool of_stages) {
    for (std::size_t i = 0; i < plan_.slots().size(); ++i) {
      const PlannedSlot& slot = plan_.slots()[i];
      if (!slot_is_new_[i] || slot.spec.stage.has_value() != of_stages) continue;
      if (slot.spec.leases == 0) continue;
      layout_.slots[i].lease_offset = on_device_ ? words_.claim(std::nullopt, lease_bytes(slot))
                                                 : arena_.claim(slot.spec.stage, lease_bytes(slot));
    }
    for (std::size_t i = 0; i < layout_.channels.size(); ++i) {
      ChannelRegion& region = layout_.channels[i];
      if (!channel_is_new_[i] || region.section.has_value() != of_stages) continue;
      place(region, arena_);
      if (on_device_) region.notes_offset = words_.claim(std::nullopt, kNotesBytes);
    }
  }

  const ArenaLayout& previous_;
  const Plan* before_;
  const Plan& plan_;
  bool on_device_;
  SegmentPacker arena_;
  SegmentPacker private_;
  SegmentPacker words_;  // without stages: there are few of them
  std::vector<bool> slot_is_new_;
  std::vector<bool> pool_is_new_;
  std::vector<bool> channel_is_new_;
  ArenaLayout layout_;
};

std::size_t reserve_for(const Plan& plan, std::size_t bytes) {
  const std::size_t granule = granule_of(plan.options().memory);
  if (plan.options().reserve_bytes != 0) return align_up(plan.options().reserve_bytes, granule);
  return align_up(default_reserve_bytes(bytes), granule);
}

/// Kernels take world ranks as bytes, and as many members as their arguments hold.
void check_members(const Plan& plan) {
  if (plan.options().memory == Memory::host) return;
  for (const GroupKind kind : all_group_kinds()) {
    if ((plan.group_mask() & bit_of(kind)) == 0) continue;
    const std::uint32_t size = plan.layout().group_size(kind);
    if (size <= cuda::kMembersMax && plan.layout().world_size() <= 256) continue;
    throw Error(ErrorCode::unsupported,
                "group " + std::string(to_string(kind)) + " has " + std::to_string(size) +
                    " ranks of " + std::to_string(plan.layout().world_size()) +
                    "; on cuda a group has at most " + std::to_string(cuda::kMembersMax) +
                    " of at most 256",
                std::nullopt, "plan");
  }
}

void check_reserve(const AddressRange& range) {
  if (range.bytes <= range.reserved_bytes) return;
  throw Error(ErrorCode::usage,
              "the plan needs " + format_bytes(range.bytes) + " a rank, but addresses for only " +
                  format_bytes(range.reserved_bytes) +
                  " are reserved; raise PlanOptions::reserve_bytes of the first plan",
              std::nullopt, "plan");
}

}  // namespace

std::size_t ChannelRegion::sync_bytes() const noexcept {
  return device_members == 0 ? kSyncBytes : kDeviceSyncBytes;
}

std::size_t ChannelRegion::scratch_bytes() const noexcept {
  return device_members == 0 ? kPlaceCount * kPlaceBytes : device_scratch_bytes(*this);
}

std::size_t lease_bytes(const PlannedSlot& slot) noexcept {
  return align_up(slot.spec.leases * sizeof(std::uint64_t), kAlignmentBytes);
}

ArenaLayout arena_layout(const Plan& plan) {
  check_members(plan);
  ArenaLayout layout = LayoutBuilder({}, nullptr, plan).run();
  layout.arena.reserved_bytes = reserve_for(plan, layout.arena.bytes);
  if (!layout.slots_in_arena) {
    layout.private_slots.reserved_bytes = reserve_for(plan, layout.private_slots.bytes);
  }
  if (layout.host_words.bytes != 0) {
    constexpr std::size_t kGrowth = 16;  // addresses cost nothing
    layout.host_words.reserved_bytes = kGrowth * layout.host_words.bytes + (std::size_t{1} << 20U);
  }
  check_reserve(layout.arena);
  check_reserve(layout.private_slots);
  return layout;
}

ArenaLayout arena_layout(const ArenaLayout& previous, const Plan& before, const Plan& plan) {
  ArenaLayout layout = LayoutBuilder(previous, &before, plan).run();
  check_reserve(layout.arena);
  check_reserve(layout.private_slots);
  check_reserve(layout.host_words);
  return layout;
}

void check_succession(const Plan& before, const Plan& next) {
  const auto refuse = [](const std::string& why) {
    throw Error(ErrorCode::usage, why, std::nullopt, "recommit");
  };
  if (!(before.layout() == next.layout())) refuse("a recommit cannot change the layout");
  if (!(before.options() == next.options())) refuse("a recommit cannot change the plan's options");
  const auto check_names = [&](const char* kind, const auto& earlier, const auto& later) {
    const std::string kinds = std::string(kind) + "s";
    for (std::size_t i = 0; i < earlier.size(); ++i) {
      const std::string place =
          std::string(kind) + " " + std::to_string(i) + " '" + earlier[i].name + "'";
      if (i >= later.size()) {
        refuse(place + " is missing in the next plan; declare the earlier " + kinds +
               " again, then new ones");
      }
      if (later[i].name != earlier[i].name) {
        refuse(place + " is '" + later[i].name + "' in the next plan; declare the earlier " +
               kinds + " in the same order, then new ones");
      }
    }
  };
  check_names("slot", before.slots(), next.slots());
  check_names("pool", before.pools(), next.pools());
}

}  // namespace cohort::heap
