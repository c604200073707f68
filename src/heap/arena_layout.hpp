#pragma once

// Where everything lies in an arena: a pure function of the plan, equal on every rank.
//
// Order: slots as declared (so that a later plan can keep their offsets), then for every planned
// (group kind, lane) its synchronisation words, its scratch and its staging ring.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/plan.hpp>

namespace cohort::heap {

/// Every region starts at a multiple of this.
inline constexpr std::size_t kAlignmentBytes = 256;
/// Largest operand that may travel with its header.
inline constexpr std::size_t kInlineBytesMax = 16 * 1024;
/// Sequence, hash and place in front of an inline operand.
inline constexpr std::size_t kHeaderBytes = 24;
/// One header place: header and inline operand.
inline constexpr std::size_t kPlaceBytes =
    (kHeaderBytes + kInlineBytesMax + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
/// Synchronisation words and call descriptors of one (group, lane).
inline constexpr std::size_t kSyncBytes = 1024;
/// Header places, and staging entries, of one (group, lane): a rank returns from a call only after
/// it has read every member's header, so peers are at most one call apart.
inline constexpr std::size_t kPlaceCount = 2;

constexpr std::size_t align_up(std::size_t bytes, std::size_t alignment) noexcept {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// The regions of one (group kind, lane).
struct ChannelRegion {
  GroupKind kind = GroupKind::world;
  Lane lane;
  std::size_t sync_offset = 0;
  std::size_t scratch_offset = 0;
  std::size_t staging_offset = 0;
  std::size_t staging_entry_bytes = 0;  ///< largest operand of any slot planned for the kind
};

struct ArenaLayout {
  std::size_t slot_bytes = 0;  ///< all slots; they lie at the start if they are symmetric
  bool slots_in_arena = true;
  std::vector<ChannelRegion> channels;  ///< by kind, then lane
  std::size_t bytes = 0;                ///< of the arena, not yet rounded to a granule
};

ArenaLayout arena_layout(const Plan& plan);

}  // namespace cohort::heap
