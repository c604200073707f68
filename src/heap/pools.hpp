#pragma once

// The live blocks of all scopes on one rank: in the pools' budgets, and in ordinary memory where a
// scope wanted that or the budget was used up.
//
// Invariants:
//   1. What `allocate` and `release` do to a pool depends on the sequence of these calls alone.
//   2. A block is of exactly one group from `allocate` to `release`; operands in it are refused for
//      every other group, and operands in free bytes for all.
//   3. Every step enters the history, whatever memory it is about.
// Thread safety: one thread per rank.

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <cohort/plan.hpp>
#include <cohort/session.hpp>
#include <cohort/verdict.hpp>

#include "heap/arena_layout.hpp"
#include "heap/block_allocator.hpp"
#include "heap/scope_history.hpp"

namespace cohort::heap {

/// A block's name; numbers are used again after a release, serials are not.
struct BlockId {
  static constexpr std::uint32_t kOrdinary = 0xFFFF'FFFF;
  static constexpr std::uint32_t kNone = 0xFFFF'FFFE;
  std::uint32_t pool = kNone;  ///< or kOrdinary: outside all pools
  std::uint32_t piece = 0;
  bool exists() const noexcept { return pool != kNone; }
  friend bool operator==(const BlockId&, const BlockId&) = default;
};

/// What an operand's address says about blocks.
struct FoundBlock {
  BlockId id;                  ///< `pool` alone is set for free bytes of a pool
  bool is_live = false;        ///< false: bytes of a pool that no block holds
  bool is_ordinary = false;    ///< a block outside the arena
  bool runs_past_end = false;  ///< begins in the block, but does not end in it
  GroupKind group = GroupKind::world;
  Reason reason = Reason::ok;
  std::size_t block_offset = 0;  ///< of the block in its pool
  std::size_t block_bytes = 0;   ///< asked for
  std::size_t offset = 0;        ///< of the operand, from the start of the slots
};

class Pools {
 public:
  /// An open scope; used again once it is closed.
  using ScopeNumber = std::uint32_t;

  struct Block {
    std::byte* data = nullptr;
    std::size_t bytes = 0;  ///< asked for
    std::uint64_t serial = 0;
    GroupKind group = GroupKind::world;
    Reason reason = Reason::ok;  ///< why it is ordinary memory; ok in the pool
    std::uint32_t budget = 0;    ///< the pool it would lie in
    ScopeNumber scope = 0;
    BlockId previous;  ///< in its scope
    BlockId next;
  };

  /// `slots` is where the slots begin, and so the pools behind them.
  Pools(const Plan& plan, const ArenaLayout& layout, std::byte* slots, std::size_t channel_count);
  ~Pools();
  Pools(const Pools&) = delete;
  Pools& operator=(const Pools&) = delete;

  ScopeNumber open_scope();
  /// Releases what the scope still holds, the last block first.
  void close_scope(ScopeNumber scope) noexcept;

  /// A block in the budget of the group's pool; nothing if it does not fit, or is larger than the
  /// largest one planned.
  std::optional<BlockId> allocate(GroupKind group, std::size_t bytes, ScopeNumber scope);
  /// The same without the plan's limit on one block: for proving a pool.
  std::optional<BlockId> allocate_any(GroupKind group, std::size_t bytes, ScopeNumber scope);
  /// A block of ordinary memory. Throws: std::bad_alloc.
  BlockId allocate_ordinary(GroupKind group, std::size_t bytes, Reason reason, ScopeNumber scope);
  void release(BlockId block) noexcept;

  const Block& block(BlockId id) const noexcept {
    return id.pool == BlockId::kOrdinary ? ordinary_[id.piece].block
                                         : pools_[id.pool]->blocks[id.piece];
  }
  /// Whether `id` still names the block that had `serial`, and `scope` holds it.
  bool holds(ScopeNumber scope, BlockId id, std::uint64_t serial) const noexcept;

  /// What lies at an address; nothing outside all pools and blocks.
  std::optional<FoundBlock> locate(const void* data, std::size_t bytes) const noexcept;
  bool has_ordinary() const noexcept { return !ordinary_at_.empty(); }
  /// Why an operand must be staged on all ranks: the reason of the ordinary block at its address.
  Reason reason_at(const void* data) const noexcept;

  void note_use(BlockId block, std::size_t channel, std::uint64_t sequence) noexcept {
    pools_[block.pool]->allocator.uses().note(block.piece, channel, sequence);
  }
  template <typename Wait>
  void settle(BlockId block, const Wait& wait) {
    if (block.pool < pools_.size()) pools_[block.pool]->allocator.uses().settle(block.piece, wait);
  }

  /// The pools of a plan that replaces this one's: those that stay where they are go on with their
  /// blocks.
  class Next;
  /// Throws: Error{usage} naming a pool that would change while it has blocks.
  Next after(const Plan& plan, const ArenaLayout& layout, std::size_t channel_count) const;
  /// Requires: nothing has happened since `after`, and no use is pending.
  void adopt(Next& next) noexcept;

  /// Changes with every block that comes or goes, so that what was found out of addresses holds as
  /// long as it stays.
  std::uint64_t changes() const noexcept { return changes_; }

  const ScopeHistory& history() const noexcept { return *history_; }
  void clear_history() noexcept { *history_ = {}; }

  PoolUse use_of(PoolId pool) const noexcept { return pools_[pool.index()]->use; }
  /// Forgets peaks and counts.
  void clear_use() noexcept;
  const std::string& name_of(std::uint32_t pool) const noexcept { return pools_[pool]->name; }

 private:
  struct Pool {
    Pool(const PlannedPool& planned, std::size_t offset_from_slots, std::byte* memory,
         std::size_t channel_count)
        : name(planned.name),
          bytes(planned.bytes),
          offset(offset_from_slots),
          data(memory),
          allocator(planned.bytes, channel_count) {
      use.bytes = planned.bytes;
    }
    std::string name;
    std::size_t bytes;
    std::size_t offset;
    std::byte* data;
    BlockAllocator allocator;
    std::vector<Block> blocks;  // by piece
    PoolUse use;
  };
  struct OrdinaryBlock {
    Block block;
    std::uint32_t next_spare = BlockId::kNone;
  };
  struct Served {
    std::uint32_t pool = BlockId::kNone;
    std::size_t block_bytes_max = 0;
  };
  using ServedGroups = std::array<Served, kGroupKindCount>;
  struct OpenScope {
    BlockId last;  // the one allocated last
    std::uint32_t next_spare = BlockId::kNone;
  };

  Block& block_of(BlockId id) noexcept {
    return id.pool == BlockId::kOrdinary ? ordinary_[id.piece].block
                                         : pools_[id.pool]->blocks[id.piece];
  }
  static ServedGroups served_by(const Plan& plan) noexcept;
  void link(BlockId id, ScopeNumber scope) noexcept;
  void unlink(BlockId id) noexcept;
  void fold(const Block& block, BlockId id, ScopeStep::Kind kind) noexcept;
  std::optional<FoundBlock> locate_ordinary(const void* data, std::size_t bytes) const noexcept;

  std::byte* slots_;
  std::vector<std::unique_ptr<Pool>> pools_;
  ServedGroups served_{};
  std::vector<OrdinaryBlock> ordinary_;
  std::uint32_t spare_ordinary_ = BlockId::kNone;
  std::map<std::uintptr_t, std::uint32_t> ordinary_at_;  // by address
  std::uint64_t serial_ = 0;
  std::uint64_t changes_ = 0;
  std::vector<OpenScope> scopes_;
  std::uint32_t spare_scope_ = BlockId::kNone;
  std::unique_ptr<ScopeHistory> history_ = std::make_unique<ScopeHistory>();
};

class Pools::Next {
  friend class Pools;
  std::vector<std::unique_ptr<Pool>> pools_;      // null where the pool stays
  std::vector<std::optional<PendingUses>> uses_;  // of the pools that stay
  ServedGroups served_{};
};

}  // namespace cohort::heap
