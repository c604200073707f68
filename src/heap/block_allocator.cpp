#include "heap/block_allocator.hpp"

#include <algorithm>

namespace cohort::heap {

BlockAllocator::BlockAllocator(std::size_t bytes, std::size_t channel_count)
    : unit_count_(static_cast<std::uint32_t>(bytes / kUnitBytes)),
      free_sizes_(std::size_t{unit_count_} + 1),
      live_begins_(std::max<std::size_t>(unit_count_, 1)),
      uses_(channel_count) {
  if (unit_count_ == 0) return;
  const Piece all = new_piece();
  pieces_[all].units = unit_count_;
  add_free(all);
}

std::optional<BlockAllocator::Piece> BlockAllocator::allocate(std::size_t bytes) {
  const std::size_t wanted =
      std::max<std::size_t>(bytes / kUnitBytes + (bytes % kUnitBytes == 0 ? 0 : 1), 1);
  if (wanted > unit_count_) return std::nullopt;
  const std::size_t size = free_sizes_.next(wanted);
  if (size == BitTree::kNone) return std::nullopt;
  const Piece piece = free_heads_.find(static_cast<std::uint32_t>(size));
  const auto units = static_cast<std::uint32_t>(wanted);
  if (size > wanted) {
    split(piece, units);
  } else {
    remove_free(piece);
  }
  live_units_ += units;
  live_begins_.set(pieces_[piece].begin);
  live_at_.set(pieces_[piece].begin, piece);
  return piece;
}

void BlockAllocator::release(Piece block) noexcept {
  PieceState& state = pieces_[block];
  live_units_ -= state.units;
  live_begins_.reset(state.begin);
  live_at_.erase(state.begin);
  Piece piece = block;
  if (state.before != kNone && pieces_[state.before].is_free) {
    remove_free(state.before);
    piece = join(state.before, piece);
  }
  const Piece after = pieces_[piece].after;
  if (after != kNone && pieces_[after].is_free) {
    remove_free(after);
    piece = join(piece, after);
  }
  add_free(piece);
}

std::optional<BlockAllocator::Piece> BlockAllocator::find(std::size_t offset) const noexcept {
  const std::size_t unit = offset / kUnitBytes;
  const std::size_t begin = live_begins_.previous(unit);
  if (begin == BitTree::kNone) return std::nullopt;
  const Piece piece = live_at_.find(static_cast<std::uint32_t>(begin));
  if (unit - begin >= pieces_[piece].units) return std::nullopt;
  return piece;
}

BlockAllocator::Piece BlockAllocator::new_piece() {
  if (spare_ == kNone) {
    // Room for whatever its release may add, which must not fail.
    const std::size_t count = pieces_.size() + 1;
    uses_.grow(count);
    free_heads_.reserve(count);
    live_at_.reserve(count);
    pieces_.emplace_back();
    return static_cast<Piece>(pieces_.size() - 1);
  }
  const Piece piece = spare_;
  spare_ = pieces_[piece].next_free;
  pieces_[piece] = {};
  uses_.clear(piece);
  return piece;
}

void BlockAllocator::add_free(Piece piece) {
  PieceState& state = pieces_[piece];
  const std::uint32_t head = free_heads_.find(state.units);
  state.is_free = true;
  state.previous_free = kNone;
  state.next_free = head;
  if (head != kNone) pieces_[head].previous_free = piece;
  free_heads_.set(state.units, piece);
  free_sizes_.set(state.units);
}

void BlockAllocator::remove_free(Piece piece) noexcept {
  PieceState& state = pieces_[piece];
  state.is_free = false;
  if (state.next_free != kNone) pieces_[state.next_free].previous_free = state.previous_free;
  if (state.previous_free != kNone) {
    pieces_[state.previous_free].next_free = state.next_free;
  } else if (state.next_free != kNone) {
    free_heads_.set(state.units, state.next_free);
  } else {
    free_heads_.erase(state.units);
    free_sizes_.reset(state.units);
  }
}

/// A free piece becomes a block of `units`, and what is left of it a new free piece.
void BlockAllocator::split(Piece piece, std::uint32_t units) {
  const Piece rest = new_piece();
  remove_free(piece);
  PieceState& block = pieces_[piece];
  PieceState& left = pieces_[rest];
  left.begin = block.begin + units;
  left.units = block.units - units;
  left.before = piece;
  left.after = block.after;
  if (left.after != kNone) pieces_[left.after].before = rest;
  block.after = rest;
  block.units = units;
  uses_.merge(rest, piece);
  add_free(rest);
}

/// Two neighbours become one under the lower one's number.
BlockAllocator::Piece BlockAllocator::join(Piece lower, Piece higher) noexcept {
  PieceState& into = pieces_[lower];
  PieceState& from = pieces_[higher];
  into.units += from.units;
  into.after = from.after;
  if (into.after != kNone) pieces_[into.after].before = lower;
  uses_.merge(lower, higher);
  from.is_free = false;
  from.next_free = spare_;
  spare_ = higher;
  return lower;
}

}  // namespace cohort::heap
