#pragma once

// Places blocks within a pool: best fit, so that a pool is used up before it is said to be full.
//
// Invariants:
//   1. Where a block lies depends on the sequence of allocations and releases and on nothing else:
//      the same on every rank of an SPMD program. No address, clock or hash of either enters.
//   2. Live and free pieces tile the pool; no two free pieces touch.
//   3. A free piece is pending on every call that was pending on any block that lay in it since it
//      was last handed out, so a new block there can be waited for.
// Cost: a few steps of bit arithmetic and table look-ups, whatever the number of blocks; memory is
// taken from the system only when there are more pieces than ever before.
// Pure bookkeeping: it never touches the memory.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "heap/bit_tree.hpp"
#include "heap/number_map.hpp"
#include "heap/pending_uses.hpp"

namespace cohort::heap {

class BlockAllocator {
 public:
  /// A piece; valid as a block from `allocate` to `release`.
  using Piece = std::uint32_t;
  static constexpr Piece kNone = std::numeric_limits<Piece>::max();
  /// Blocks begin at multiples of this and are as long.
  static constexpr std::size_t kUnitBytes = 256;

  /// A pool of `bytes`, a multiple of the unit and below 2^32 units.
  BlockAllocator(std::size_t bytes, std::size_t channel_count);

  /// A block of at least `bytes`, at least one unit; nothing if no free piece is large enough.
  std::optional<Piece> allocate(std::size_t bytes);
  void release(Piece block) noexcept;

  std::size_t offset_of(Piece piece) const noexcept {
    return std::size_t{pieces_[piece].begin} * kUnitBytes;
  }
  std::size_t bytes_of(Piece piece) const noexcept {
    return std::size_t{pieces_[piece].units} * kUnitBytes;
  }

  /// The live block that holds the byte at `offset`, which must lie in the pool.
  std::optional<Piece> find(std::size_t offset) const noexcept;

  PendingUses& uses() noexcept { return uses_; }
  /// Room for other channels, with nothing pending: for `set_uses`.
  PendingUses no_uses(std::size_t channel_count) const {
    PendingUses uses(channel_count);
    uses.grow(pieces_.size());
    return uses;
  }
  /// Forgets all uses. Requires: `uses` are `no_uses` of this moment, and nothing is pending.
  void set_uses(PendingUses uses) noexcept { uses_ = std::move(uses); }
  std::size_t live_bytes() const noexcept { return live_units_ * kUnitBytes; }
  /// Pieces there have ever been room for: what tables by piece must hold.
  std::size_t piece_count() const noexcept { return pieces_.size(); }

 private:
  struct PieceState {
    std::uint32_t begin = 0;
    std::uint32_t units = 0;
    Piece before = kNone;         // the neighbour at lower addresses
    Piece after = kNone;          // and at higher ones
    Piece previous_free = kNone;  // among free pieces of this size
    Piece next_free = kNone;      // also links spare numbers
    bool is_free = false;
  };

  Piece new_piece();
  void add_free(Piece piece);
  void remove_free(Piece piece) noexcept;
  void split(Piece piece, std::uint32_t units);
  Piece join(Piece lower, Piece higher) noexcept;

  std::uint32_t unit_count_;
  std::size_t live_units_ = 0;
  std::vector<PieceState> pieces_;
  Piece spare_ = kNone;   // numbers of pieces that no longer exist
  BitTree free_sizes_;    // sizes, in units, that some free piece has
  NumberMap free_heads_;  // by size: the free piece to take next
  BitTree live_begins_;   // where live blocks begin
  NumberMap live_at_;     // by begin: the block
  PendingUses uses_;      // by piece
};

}  // namespace cohort::heap
