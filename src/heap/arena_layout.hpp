#pragma once

// Where everything lies in an arena: a pure function of the plans agreed so far, equal on every
// rank.
//
// An arena is a range of addresses that is filled segment by segment: the first plan makes the
// first, each later plan one more for what it changes or adds. Nothing that stays ever moves.
// Within a segment: the slots that all ranks hold, as declared; then, over the same offsets for
// each pipeline stage, the stage's slots, lease words and channels; then the lease words and
// channels that are the same in all stages, and the pools, which all ranks hold. A segment is as
// long as its longest stage needs.
//
// In GPU memory the words of the session come first of all, channels are those of the kernels
// (device_channel.hpp), and operands are never staged. Lease words and notes of calls, which only
// hosts use, lie in a range of host memory of their own.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/plan.hpp>

namespace cohort::heap {

/// Every region starts at a multiple of this.
inline constexpr std::size_t kAlignmentBytes = 256;
/// Segments are whole pages.
inline constexpr std::size_t kGranuleBytes = 4096;
/// Segments of GPU memory are whole pages of this size.
inline constexpr std::size_t kDeviceGranuleBytes = std::size_t{2} << 20U;
/// Largest operand that may travel with its header.
inline constexpr std::size_t kInlineBytesMax = 16 * 1024;
/// Sequence, hash and place in front of an inline operand.
inline constexpr std::size_t kHeaderBytes = 24;
/// One header place: header and inline operand.
inline constexpr std::size_t kPlaceBytes =
    (kHeaderBytes + kInlineBytesMax + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
/// Synchronisation words and call descriptors of one (group, lane).
inline constexpr std::size_t kSyncBytes = 1024;
/// Synchronisation words and call descriptors of one peer in send and recv.
inline constexpr std::size_t kPairSyncBytes = 1280;
/// What a rank notes about the staging ring of its messages.
inline constexpr std::size_t kSendStagingBytes = 256;
/// Header places, and staging entries, of one (group, lane): a rank returns from a call only after
/// it has read every member's header, so peers are at most one call apart.
inline constexpr std::size_t kPlaceCount = 2;

constexpr std::size_t align_up(std::size_t bytes, std::size_t alignment) noexcept {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// The pipeline stage whose ranks hold something; nothing if all ranks do.
using Section = std::optional<std::uint32_t>;

/// Whether ranks of `stage` hold what lies in `section`.
constexpr bool is_held_by(Section section, std::uint32_t stage) noexcept {
  return !section || *section == stage;
}

constexpr std::size_t granule_of(Memory memory) noexcept {
  return memory == Memory::host ? kGranuleBytes : kDeviceGranuleBytes;
}

/// Where the first slot may begin: on GPUs behind the words of the session.
constexpr std::size_t first_offset(Memory memory) noexcept {
  return memory == Memory::host ? 0 : kAlignmentBytes;
}

struct SlotRegion {
  std::size_t offset = 0;        ///< of entry 0, from the start of the slots
  std::size_t lease_offset = 0;  ///< of its lease words, in the arena or the host words
};

/// What send and recv need of one (group kind, lane), where the plan asks for them.
struct SendRecvRegion {
  std::uint32_t peers = 0;         ///< members of the group; 0 without send and recv
  std::size_t sync_offset = 0;     ///< kSendStagingBytes, then kPairSyncBytes for each peer
  std::size_t scratch_offset = 0;  ///< kPlaceCount header places for each peer
  std::size_t staging_offset = 0;  ///< a ring of kPlaceCount entries for all peers together
  std::size_t staging_entry_bytes = 0;

  std::size_t sync_bytes() const noexcept {
    return peers == 0 ? 0 : kSendStagingBytes + peers * kPairSyncBytes;
  }
  std::size_t scratch_bytes() const noexcept { return peers * kPlaceCount * kPlaceBytes; }
  std::size_t staging_bytes() const noexcept {
    return peers == 0 ? 0 : kPlaceCount * staging_entry_bytes;
  }
  std::size_t bytes() const noexcept { return sync_bytes() + scratch_bytes() + staging_bytes(); }
};

/// The regions of one (group kind, lane).
struct ChannelRegion {
  GroupKind kind = GroupKind::world;
  Lane lane;
  /// A kind that slots of a stage name has a region in each stage, as large as that stage needs.
  Section section;
  std::size_t sync_offset = 0;
  std::size_t scratch_offset = 0;
  std::size_t staging_offset = 0;
  std::size_t staging_entry_bytes = 0;  ///< largest operand of any slot or pool of the kind
  SendRecvRegion messages;
  std::uint32_t device_members = 0;  ///< of the group, in GPU memory; 0 in host memory
  std::size_t notes_offset = 0;      ///< in the host words, if it is in GPU memory

  std::size_t sync_bytes() const noexcept;
  std::size_t scratch_bytes() const noexcept;
  std::size_t staging_bytes() const noexcept {
    return device_members == 0 ? kPlaceCount * staging_entry_bytes : 0;
  }
  std::size_t bytes() const noexcept {
    return sync_bytes() + scratch_bytes() + staging_bytes() + messages.bytes();
  }
};

/// Of the words in which a rank says which of a slot's leases it has dropped.
std::size_t lease_bytes(const PlannedSlot& slot) noexcept;

/// Memory that is held but serves nothing.
struct UnusedRegion {
  enum class Why : std::uint8_t { padding, retired };
  Why why = Why::padding;
  std::string name;
  Section section;
  std::size_t offset = 0;
  std::size_t bytes = 0;
};

/// A range of addresses and how far it is filled.
struct AddressRange {
  std::size_t bytes = 0;           ///< whole pages; the next segment begins here
  std::size_t reserved_bytes = 0;  ///< what it can ever hold
};

struct ArenaLayout {
  bool slots_in_arena = true;
  AddressRange arena;
  AddressRange private_slots;     ///< without symmetric memory slots have a range of their own
  AddressRange host_words;        ///< of plans in GPU memory: what only hosts look at
  std::vector<SlotRegion> slots;  ///< by slot
  std::vector<std::size_t> pool_offsets;  ///< from the start of the slots; by pool
  std::vector<ChannelRegion> channels;    ///< those of all stages; by kind, section, lane
  std::vector<UnusedRegion> unused;

  /// Streams of calls in which peers may read an entry of a rank of `stage`: every channel, and
  /// every peer that the rank may send to on it.
  std::size_t reader_count(std::uint32_t stage) const noexcept {
    std::size_t count = 0;
    for (const ChannelRegion& channel : channels) {
      if (is_held_by(channel.section, stage)) count += 1 + channel.messages.peers;
    }
    return count;
  }
};

/// The layout of a first plan. Throws: Error{usage} if it exceeds `reserve_bytes`.
ArenaLayout arena_layout(const Plan& plan);

/// The layout after `plan` has replaced `before`, whose layout is `previous`: slots and channels
/// that are as they were stay where they are, all else goes behind what there is.
/// Requires: `plan` succeeds `before`. Throws: Error{usage} if it exceeds the reserved addresses.
ArenaLayout arena_layout(const ArenaLayout& previous, const Plan& before, const Plan& plan);

/// Throws Error{usage} unless `next` may replace `before`: the same layout and options, the same
/// slots in the same order, then new ones, and so for pools. Specs may differ.
void check_succession(const Plan& before, const Plan& next);

}  // namespace cohort::heap
