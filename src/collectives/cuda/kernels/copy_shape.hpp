#pragma once

// How pieces to copy are cut into items of one access each and into units of one thread block each:
// plain arithmetic, tested on the host.

#include <cstdint>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

inline constexpr std::uint32_t kCopyThreads = 128;
/// Items of one thread in a unit, all under way at once.
inline constexpr std::uint32_t kCopyItems = 4;
inline constexpr std::uint32_t kCopyUnitItems = kCopyThreads * kCopyItems;

/// A piece as the kernel takes it. Bytes behind the last whole item of a single row are its tail.
struct CopyShape {
  CopyPiece piece;
  std::uint64_t row_items;   ///< whole items of a row
  std::uint64_t items;       ///< of all rows
  std::uint32_t item_bytes;  ///< 1, 2, 4, 8 or 16
  std::uint32_t tail_bytes;  ///< less than item_bytes; of a single row only
};

/// The largest power of two up to 16 that divides all numbers of which `bits` is the union.
constexpr std::uint32_t common_alignment(std::uint64_t bits) noexcept {
  std::uint32_t alignment = 16;
  while ((bits & (alignment - 1)) != 0) alignment /= 2;
  return alignment;
}

constexpr CopyShape copy_shape(CopyPiece piece) noexcept {
  const bool is_dense = piece.to_stride == piece.row_bytes &&
                        (piece.from == 0 || piece.from_stride == piece.row_bytes);
  if (is_dense) {
    piece.row_bytes *= piece.rows;
    piece.rows = 1;
  }
  if (piece.row_bytes == 0 || piece.rows == 0) return {piece, 0, 0, 1, 0};
  std::uint64_t bits = piece.to | piece.from;
  if (piece.rows > 1) bits |= piece.row_bytes | piece.to_stride;
  if (piece.rows > 1 && piece.from != 0) bits |= piece.from_stride;
  const std::uint32_t item_bytes = common_alignment(bits);
  const std::uint64_t row_items = piece.row_bytes / item_bytes;
  return {piece, row_items, row_items * piece.rows, item_bytes,
          static_cast<std::uint32_t>(piece.row_bytes % item_bytes)};
}

/// Thread blocks' worth of work; at least one where there is any.
constexpr std::uint64_t copy_units(const CopyShape& shape) noexcept {
  const std::uint64_t units = (shape.items + kCopyUnitItems - 1) / kCopyUnitItems;
  return units == 0 && shape.tail_bytes != 0 ? 1 : units;
}

}  // namespace cohort::cuda
