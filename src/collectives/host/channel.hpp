#pragma once

// The shared words of one (group, lane) on the host, as this rank sees them.
//
// Every member owns, in its own arena, two header places, a staging ring of two entries, and the
// words below; peers only read them. Why two places are enough: a rank returns from call n only
// after it has read every member's header of call n. So when it publishes header n + 2, every
// member has published header n + 1, hence returned from call n, hence will never read header n
// again. The same holds for staging entry n.
//
// Thread safety: one thread per rank.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <cohort/layout.hpp>

#include "backend/backend.hpp"
#include "backend/host/domain.hpp"
#include "collectives/header.hpp"
#include "collectives/ledger.hpp"
#include "heap/arena_layout.hpp"

namespace cohort::host {

/// At ChannelRegion::sync_offset of each arena. The owner writes, peers read.
struct SyncWords {
  /// The last call after which the owner reads no peer's memory any more.
  alignas(64) std::atomic<std::uint64_t> done;
  /// The last call whose partial result the owner has made readable.
  alignas(64) std::atomic<std::uint64_t> result_ready;
  /// Of a relayed broadcast: the call's sequence, shifted by kPieceBits, plus the pieces that are
  /// readable so far. The sequence's high bits are lost, which comparing by difference allows.
  alignas(64) std::atomic<std::uint64_t> pieces;
  static constexpr unsigned kPieceBits = 20;
  /// The owner's calls so far. Peers look at it only while plans change; a peer that comes late to
  /// such an attempt may look while the owner goes on with its calls.
  alignas(64) std::atomic<std::uint64_t> sequence;
  /// The call of each header place in plain words; read by peers only to explain.
  alignas(256) collectives::CallNote notes[heap::kPlaceCount];
};
static_assert(sizeof(SyncWords) <= heap::kSyncBytes);

/// At ChannelRegion::scratch_offset, kPlaceCount of them. The owner writes all and publishes with
/// `sequence`; peers read after having seen that sequence.
struct HeaderPlace {
  std::atomic<std::uint64_t> sequence;
  std::uint64_t hash;
  std::uint64_t place;
  std::byte payload[heap::kPlaceBytes - heap::kHeaderBytes];
};
static_assert(sizeof(HeaderPlace) == heap::kPlaceBytes);
static_assert(offsetof(HeaderPlace, payload) == heap::kHeaderBytes);

/// First bytes of the payload on pull paths: where in the owner's arena peers find things.
struct PullOffsets {
  std::uint64_t operand = 0;
  std::uint64_t result = 0;        ///< of all_reduce: base of the parts that owners reduce
  std::uint64_t result_place = 0;  ///< Place of the result
  std::uint64_t in_place = 0;      ///< of all_reduce: 1 if the operand is where the output goes
};

/// Where in a header place an operand lies that rides beside its PullOffsets.
inline constexpr std::size_t kCarriedOffset = 64;
/// The largest that does: an in-place all_reduce, whose peers would otherwise have to say that they
/// have read the operand before it may be overwritten. Beyond it that costs less than the copy.
inline constexpr std::size_t kCarriedBytesMax = 4 * 1024;
static_assert(kCarriedOffset >= heap::kHeaderBytes + sizeof(PullOffsets));
static_assert(kCarriedOffset + kCarriedBytesMax <= heap::kPlaceBytes);

/// True once a word that counts calls has reached `sequence`, across wrap-around.
constexpr bool reached(std::uint64_t word, std::uint64_t sequence) noexcept {
  return static_cast<std::int64_t>(word - sequence) >= 0;
}

/// The group that a channel serves, and this rank's place in it.
struct Membership {
  std::span<const WorldRank> ranks;
  GroupRank self;
  std::span<const std::uint32_t> nodes;  ///< memory node of each member, the same on all of them
};

class Channel {
 public:
  Channel(Domain& domain, const Arena& arena, const heap::ChannelRegion& region,
          const collectives::ChannelIdentity& identity, const Membership& membership,
          std::size_t index);

  /// Writes the owner's words before peers map them: all calls up to `sequence` count as done.
  static void initialise(std::byte* arena, const heap::ChannelRegion& region,
                         std::uint64_t sequence);
  /// Resolves the peers' words; call once their arenas are mapped.
  void attach();
  /// Throws: Error{mismatch} naming a member that has made another number of calls. Between calls.
  void check_sequences() const;

  Domain& domain() const noexcept { return *domain_; }
  const collectives::ChannelIdentity& identity() const noexcept { return identity_; }
  std::span<const WorldRank> ranks() const noexcept { return ranks_; }
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(ranks_.size()); }
  std::uint32_t self() const noexcept { return self_.index(); }
  /// Among all channels of this rank; the bit in an entry's pending uses.
  std::size_t index() const noexcept { return index_; }
  const heap::ChannelRegion& region() const noexcept { return region_; }
  std::size_t arena_bytes() const noexcept { return arena_->bytes(); }
  std::byte* arena_of(std::uint32_t member) const noexcept { return members_[member].arena; }

  /// All other members in the order in which this rank reads them.
  std::span<const std::uint32_t> pull_order() const noexcept { return pull_order_; }
  /// From whom each member reads what `root` broadcasts; empty if all read from the root.
  std::span<const std::uint32_t> broadcast_parents(std::uint32_t root) const noexcept {
    return broadcast_parents_[root];
  }

  std::uint64_t next_sequence() noexcept {
    const std::uint64_t next = own().sequence.load(std::memory_order_relaxed) + 1;
    own().sequence.store(next, std::memory_order_relaxed);
    calls_begun_->store(next, std::memory_order_relaxed);
    return next;
  }
  SyncWords& own() const noexcept { return *members_[self()].words; }
  SyncWords& words_of(std::uint32_t member) const noexcept { return *members_[member].words; }
  HeaderPlace& place_of(std::uint32_t member, std::uint64_t sequence) const noexcept {
    return members_[member].places[sequence % heap::kPlaceCount];
  }
  /// Offset in the arena of what this rank's header of a call carries.
  std::size_t carried_offset(std::uint64_t sequence) const noexcept {
    return region_.scratch_offset + sequence % heap::kPlaceCount * heap::kPlaceBytes +
           kCarriedOffset;
  }
  /// Offset in the arena of the staging entry of a call.
  std::size_t staging_offset(std::uint64_t sequence) const noexcept {
    return region_.staging_offset + sequence % heap::kPlaceCount * region_.staging_entry_bytes;
  }
  collectives::Ledger& ledger() noexcept { return ledger_; }
  const collectives::Ledger& ledger() const noexcept { return ledger_; }

  /// Waits until every member has finished with its peers' memory of call `sequence`.
  void await_done(std::uint64_t sequence) const;

 private:
  struct Member {
    SyncWords* words = nullptr;
    HeaderPlace* places = nullptr;
    std::byte* arena = nullptr;
  };

  Domain* domain_;
  const Arena* arena_;
  heap::ChannelRegion region_;
  collectives::ChannelIdentity identity_;
  std::span<const WorldRank> ranks_;
  GroupRank self_;
  std::size_t index_;
  std::atomic<std::uint64_t>* calls_begun_;  // for health: outlives this channel
  std::vector<Member> members_;
  std::vector<std::uint32_t> pull_order_;
  std::vector<std::vector<std::uint32_t>> broadcast_parents_;  // by root
  collectives::Ledger ledger_;
};

}  // namespace cohort::host
