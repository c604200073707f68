#include "heap/pools.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include <cohort/error.hpp>

namespace cohort::heap {
namespace {

/// Behind every ordinary block, so that an operand of no rows at its end is still known as its.
constexpr std::size_t kOrdinaryPadBytes = kAlignmentBytes;

std::size_t index_of(GroupKind group) noexcept {
  return static_cast<std::size_t>(group);
}

}  // namespace

Pools::Pools(const Plan& plan, const ArenaLayout& layout, std::byte* slots,
             std::size_t channel_count)
    : slots_(slots), served_(served_by(plan)) {
  for (std::size_t i = 0; i < plan.pools().size(); ++i) {
    const std::size_t offset = layout.pool_offsets[i];
    pools_.push_back(
        std::make_unique<Pool>(plan.pools()[i], offset, slots + offset, channel_count));
  }
}

Pools::ServedGroups Pools::served_by(const Plan& plan) noexcept {
  ServedGroups served{};
  for (std::size_t i = 0; i < plan.pools().size(); ++i) {
    for (const PoolGroup& group : plan.pools()[i].spec.groups) {
      served[index_of(group.kind)] = {static_cast<std::uint32_t>(i), group.block_bytes_max};
    }
  }
  return served;
}

Pools::Next Pools::after(const Plan& plan, const ArenaLayout& layout,
                         std::size_t channel_count) const {
  Next next;
  next.served_ = served_by(plan);
  next.pools_.resize(plan.pools().size());
  next.uses_.resize(plan.pools().size());
  for (std::size_t i = 0; i < plan.pools().size(); ++i) {
    const std::size_t offset = layout.pool_offsets[i];
    const bool stays = i < pools_.size() && pools_[i]->offset == offset &&
                       pools_[i]->bytes == plan.pools()[i].bytes;
    if (stays) {
      next.uses_[i].emplace(pools_[i]->allocator.no_uses(channel_count));
      continue;
    }
    if (i < pools_.size() && pools_[i]->use.live_blocks != 0) {
      throw Error(ErrorCode::usage,
                  "pool '" + pools_[i]->name + "' has " +
                      std::to_string(pools_[i]->use.live_blocks) +
                      " live blocks; end their scopes before its size changes",
                  std::nullopt, "recommit");
    }
    next.pools_[i] =
        std::make_unique<Pool>(plan.pools()[i], offset, slots_ + offset, channel_count);
  }
  return next;
}

void Pools::adopt(Next& next) noexcept {
  for (std::size_t i = 0; i < next.pools_.size(); ++i) {
    if (next.pools_[i]) continue;
    pools_[i]->allocator.set_uses(std::move(*next.uses_[i]));
    next.pools_[i] = std::move(pools_[i]);
  }
  pools_ = std::move(next.pools_);
  served_ = next.served_;
}

Pools::~Pools() {
  for (const auto& [address, piece] : ordinary_at_) {
    ::operator delete (ordinary_[piece].block.data, std::align_val_t{kAlignmentBytes});
  }
}

Pools::ScopeNumber Pools::open_scope() {
  if (spare_scope_ == BlockId::kNone) {
    scopes_.emplace_back();
    return static_cast<ScopeNumber>(scopes_.size() - 1);
  }
  const ScopeNumber scope = spare_scope_;
  spare_scope_ = scopes_[scope].next_spare;
  return scope;
}

void Pools::close_scope(ScopeNumber scope) noexcept {
  while (scopes_[scope].last.exists()) release(scopes_[scope].last);
  scopes_[scope].next_spare = spare_scope_;
  spare_scope_ = scope;
}

std::optional<BlockId> Pools::allocate(GroupKind group, std::size_t bytes, ScopeNumber scope) {
  if (bytes > served_[index_of(group)].block_bytes_max) return std::nullopt;
  return allocate_any(group, bytes, scope);
}

std::optional<BlockId> Pools::allocate_any(GroupKind group, std::size_t bytes, ScopeNumber scope) {
  const std::uint32_t index = served_[index_of(group)].pool;
  if (index == BlockId::kNone) return std::nullopt;
  Pool& pool = *pools_[index];
  const auto piece = pool.allocator.allocate(bytes);
  if (!piece) return std::nullopt;
  if (pool.blocks.size() < pool.allocator.piece_count()) {
    pool.blocks.resize(pool.allocator.piece_count());
  }
  const BlockId id{index, *piece};
  Block& block = pool.blocks[*piece];
  block = {};
  block.data = pool.data + pool.allocator.offset_of(*piece);
  block.bytes = bytes;
  block.serial = ++serial_;
  block.group = group;
  block.budget = index;
  link(id, scope);
  ++pool.use.live_blocks;
  pool.use.live_bytes = pool.allocator.live_bytes();
  pool.use.peak_bytes = std::max(pool.use.peak_bytes, pool.use.live_bytes);
  fold(block, id, ScopeStep::Kind::allocate);
  return id;
}

BlockId Pools::allocate_ordinary(GroupKind group, std::size_t bytes, Reason reason,
                                 ScopeNumber scope) {
  if (spare_ordinary_ == BlockId::kNone) {
    ordinary_.emplace_back();
    spare_ordinary_ = static_cast<std::uint32_t>(ordinary_.size() - 1);
  }
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
  const BlockId id{BlockId::kOrdinary, spare_ordinary_};
  const std::align_val_t alignment{kAlignmentBytes};
  auto* data = static_cast<std::byte*>(::operator new(bytes + kOrdinaryPadBytes, alignment));
  try {
    ordinary_at_.emplace(reinterpret_cast<std::uintptr_t>(data), id.piece);
  } catch (...) {
    ::operator delete(data, alignment);
    throw;
  }
  OrdinaryBlock& ordinary = ordinary_[id.piece];
  spare_ordinary_ = ordinary.next_spare;
  ordinary.next_spare = BlockId::kNone;
  Block& block = ordinary.block;
  block = {};
  block.data = data;
  block.bytes = bytes;
  block.serial = ++serial_;
  block.group = group;
  block.reason = reason;
  block.budget = served_[index_of(group)].pool;
  link(id, scope);
  if (reason == Reason::over_budget) {
    PoolUse& use = pools_[block.budget]->use;
    ++use.over_budget_blocks;
    use.over_budget_bytes += bytes;
  }
  fold(block, id, ScopeStep::Kind::allocate);
  return id;
}

void Pools::release(BlockId id) noexcept {
  unlink(id);
  Block& block = block_of(id);
  fold(block, id, ScopeStep::Kind::release);
  block.serial = 0;
  if (id.pool != BlockId::kOrdinary) {
    Pool& pool = *pools_[id.pool];
    pool.allocator.release(id.piece);
    --pool.use.live_blocks;
    pool.use.live_bytes = pool.allocator.live_bytes();
    return;
  }
  ordinary_at_.erase(reinterpret_cast<std::uintptr_t>(block.data));
  ::operator delete (block.data, std::align_val_t{kAlignmentBytes});
  ordinary_[id.piece].next_spare = spare_ordinary_;
  spare_ordinary_ = id.piece;
}

bool Pools::holds(ScopeNumber scope, BlockId id, std::uint64_t serial) const noexcept {
  if (serial == 0) return false;
  if (id.pool == BlockId::kOrdinary) {
    if (id.piece >= ordinary_.size()) return false;
  } else if (id.pool >= pools_.size() || id.piece >= pools_[id.pool]->blocks.size()) {
    return false;
  }
  const Block& found = block(id);
  return found.serial == serial && found.scope == scope;
}

void Pools::link(BlockId id, ScopeNumber scope) noexcept {
  Block& block = block_of(id);
  block.scope = scope;
  BlockId& last = scopes_[scope].last;
  block.previous = last;
  if (last.exists()) block_of(last).next = id;
  last = id;
}

void Pools::unlink(BlockId id) noexcept {
  const Block& block = block_of(id);
  if (block.previous.exists()) block_of(block.previous).next = block.next;
  if (block.next.exists()) {
    block_of(block.next).previous = block.previous;
  } else {
    scopes_[block.scope].last = block.previous;
  }
}

void Pools::fold(const Block& block, BlockId id, ScopeStep::Kind kind) noexcept {
  ++changes_;
  ScopeStep step;
  step.bytes = block.bytes;
  step.pool = block.budget;
  step.group = block.group;
  step.kind = kind;
  if (id.pool != BlockId::kOrdinary) {
    step.offset = pools_[id.pool]->allocator.offset_of(id.piece);
  } else {
    step.where = block.reason == Reason::over_budget ? ScopeStep::Where::over_budget
                                                     : ScopeStep::Where::disabled;
  }
  history_->fold(step);
}

std::optional<FoundBlock> Pools::locate(const void* data, std::size_t bytes) const noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  for (std::size_t index = 0; index < pools_.size(); ++index) {
    const Pool& pool = *pools_[index];
    // Unsigned wrap makes addresses below the pool look far above it.
    const std::size_t within = address - reinterpret_cast<std::uintptr_t>(pool.data);
    if (within >= pool.bytes) continue;
    FoundBlock found;
    found.id.pool = static_cast<std::uint32_t>(index);
    found.offset = pool.offset + within;
    const auto piece = pool.allocator.find(within);
    if (!piece) return found;
    const Block& block = pool.blocks[*piece];
    found.is_live = true;
    found.id.piece = *piece;
    found.group = block.group;
    found.block_offset = pool.allocator.offset_of(*piece);
    found.block_bytes = block.bytes;
    found.runs_past_end = bytes > pool.allocator.bytes_of(*piece) - (within - found.block_offset);
    return found;
  }
  return locate_ordinary(data, bytes);
}

std::optional<FoundBlock> Pools::locate_ordinary(const void* data,
                                                 std::size_t bytes) const noexcept {
  if (ordinary_at_.empty()) return std::nullopt;
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  auto after = ordinary_at_.upper_bound(address);
  if (after == ordinary_at_.begin()) return std::nullopt;
  const auto& [begin, piece] = *--after;
  const Block& block = ordinary_[piece].block;
  const std::size_t within = address - begin;
  if (within >= block.bytes + kOrdinaryPadBytes) return std::nullopt;
  FoundBlock found;
  found.id = {BlockId::kOrdinary, piece};
  found.is_live = true;
  found.is_ordinary = true;
  found.group = block.group;
  found.reason = block.reason;
  found.block_bytes = block.bytes;
  found.runs_past_end = within > block.bytes || bytes > block.bytes - within;
  return found;
}

Reason Pools::reason_at(const void* data) const noexcept {
  const auto found = locate_ordinary(data, 0);
  return found ? found->reason : Reason::ok;
}

void Pools::clear_use() noexcept {
  for (const auto& pool : pools_) {
    pool->use = {};
    pool->use.bytes = pool->bytes;
  }
}

}  // namespace cohort::heap
