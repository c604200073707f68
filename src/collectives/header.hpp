#pragma once

// What ranks tell each other in every call, and how it is compared: pure.
//
// Every member stores {sequence, hash, place}. Equal sequences with different hashes, or two
// in-heap places that differ, are a mismatch. Beside it lies the call in plain words, read only to
// print both sides.

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <cohort/error.hpp>
#include <cohort/layout.hpp>

#include "collectives/call.hpp"
#include "heap/slot_rings.hpp"

namespace cohort::collectives {

/// Where a rank's operand lies, in one word.
class Place {
 public:
  enum class Kind : std::uint8_t { none, heap, staged, refused, block };

  constexpr Place() = default;
  static constexpr Place in_heap(heap::EntryId entry) noexcept {
    return Place{pack(Kind::heap, entry.slot, entry.entry)};
  }
  /// A pool's block that begins at `unit`, counted in the units that blocks begin at.
  static constexpr Place in_block(std::uint32_t pool, std::uint32_t unit) noexcept {
    return Place{pack(Kind::block, pool, unit)};
  }
  static constexpr Place in_staging() noexcept { return Place{pack(Kind::staged, 0, 0)}; }
  static constexpr Place refused(ErrorCode code) noexcept {
    return Place{pack(Kind::refused, static_cast<std::uint32_t>(code), 0)};
  }
  static constexpr Place from_word(std::uint64_t word) noexcept { return Place{word}; }

  constexpr std::uint64_t word() const noexcept { return word_; }
  constexpr Kind kind() const noexcept { return static_cast<Kind>(word_ >> 56U); }
  constexpr heap::EntryId entry() const noexcept { return {middle(), low()}; }
  constexpr std::uint32_t pool() const noexcept { return middle(); }
  constexpr std::uint32_t unit() const noexcept { return low(); }
  /// In an entry or a block, so that it must lie there on all ranks.
  constexpr bool in_arena() const noexcept { return kind() == Kind::heap || kind() == Kind::block; }
  constexpr ErrorCode code() const noexcept { return static_cast<ErrorCode>(middle()); }
  friend constexpr bool operator==(Place, Place) = default;

 private:
  constexpr explicit Place(std::uint64_t word) : word_(word) {}
  static constexpr std::uint64_t pack(Kind kind, std::uint32_t middle, std::uint32_t low) noexcept {
    return std::uint64_t{static_cast<std::uint8_t>(kind)} << 56U |
           std::uint64_t{middle & 0xFFFFFFU} << 32U | low;
  }
  constexpr std::uint32_t middle() const noexcept {
    return static_cast<std::uint32_t>(word_ >> 32U) & 0xFFFFFFU;
  }
  constexpr std::uint32_t low() const noexcept { return static_cast<std::uint32_t>(word_); }

  std::uint64_t word_ = 0;
};

/// Two ranks' places contradict each other: both in the arena, but not the same entry or block.
constexpr bool places_differ(Place mine, Place theirs) noexcept {
  return mine.in_arena() && theirs.in_arena() && mine != theirs;
}

/// Which stream of calls a header belongs to.
struct ChannelIdentity {
  GroupKind kind = GroupKind::world;
  std::uint32_t instance = 0;  ///< which group of that kind
  Lane lane;
  std::uint32_t generation = 0;
};

/// Bytes of an operand over which ranks agree: all_reduce and broadcast the operand, all_gather one
/// member's part, reduce_scatter and all_to_all the whole input; v-forms the largest member's part,
/// or their sum, all_to_allv the largest member's input; send and recv the message.
std::size_t agreed_bytes(const Call& call) noexcept;

/// Hash over everything that all members must state alike.
std::uint64_t call_hash(const ChannelIdentity& channel, const Call& call, Path path) noexcept;

/// CallRecord::counts_hash of counts that no host knows.
inline constexpr std::uint64_t kCountsOnDevice = 1;

/// A call in plain words, kept beside its header.
struct CallRecord {
  std::uint64_t sequence = 0;
  std::uint64_t bytes = 0;
  std::uint64_t counts_hash = 0;
  std::uint64_t place = 0;
  std::uint32_t root = 0;
  std::uint32_t receiver = 0;
  std::uint32_t generation = 0;
  Op op = Op::barrier;
  ReduceOp reduce_op = ReduceOp::sum;
  DType dtype = DType::f32;
  Path path = Path::local;
};

/// A CallRecord in the arena of the rank that makes the call. Peers may look while the next record
/// is being written: every word is atomic, and the sequence is written first.
class NotedCall {
 public:
  /// By its owner.
  void store(const CallRecord& record) noexcept;
  /// Before peers can look: there has been no call, and the next one is not `sequence`.
  void clear(std::uint64_t sequence) noexcept;
  /// Requires: the owner has published this call and cannot have begun the one that follows it
  /// here.
  CallRecord load() const noexcept;
  /// The record of call `sequence`, which has been seen published; nothing if it is being replaced.
  std::optional<CallRecord> load_of(std::uint64_t sequence) const noexcept;

 private:
  std::array<std::atomic<std::uint64_t>, 6> words_{};
};

/// What a rank keeps beside one header place.
struct CallNote {
  NotedCall call;
  char refusal[208] = {};  ///< why, written only when the place says refused; ends with 0
};
static_assert(sizeof(CallNote) == 256);

CallRecord record_of(const Call& call, Path path, std::uint64_t sequence, Place place,
                     std::uint32_t generation = 0) noexcept;

/// Keeps why a call was refused, cut to what a note holds.
void write_refusal(CallNote& note, std::string_view why) noexcept;
/// What a rank wrote there, or whatever else it left.
std::string read_refusal(const CallNote& note);
/// The code of a refusal; what is none counts as `corrupt`.
ErrorCode refusal_code(const CallNote& note) noexcept;

/// "all_reduce(sum, f32, 4096 bytes, host_direct)".
std::string describe(const CallRecord& record);

/// " (one of generation 2, the other of generation 3 of the plan)" if that is so, else nothing.
std::string other_generation(const CallRecord& mine, const CallRecord& theirs);

/// "attn_cp [0, 2]".
std::string describe(GroupKind kind, std::span<const WorldRank> ranks);

}  // namespace cohort::collectives
