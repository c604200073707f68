#include "collectives/cuda/kernels/copy_shape.hpp"

#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::cuda {
namespace {

Address address_of(const void* data) {
  return reinterpret_cast<Address>(data);
}

/// Counts up each byte that the kernel's threads would store to, walking as they do.
void count_stores(const CopyShape& shape, std::byte* to, std::vector<int>& stores) {
  const auto store = [&](std::uint64_t offset, std::uint64_t bytes) {
    for (std::uint64_t i = 0; i < bytes; ++i) ++stores.at(offset + i);
  };
  const Address base = address_of(to);
  for (std::uint64_t i = 0; i < copy_units(shape) * kCopyUnitItems; ++i) {
    if (i >= shape.items) break;
    const std::uint64_t at = i / shape.row_items * shape.piece.to_stride +
                             i % shape.row_items * shape.item_bytes + shape.piece.to;
    ASSERT_EQ(at % shape.item_bytes, 0U);
    store(at - base, shape.item_bytes);
    if (shape.piece.from == 0) continue;
    ASSERT_EQ((i / shape.row_items * shape.piece.from_stride +
               i % shape.row_items * shape.item_bytes + shape.piece.from) %
                  shape.item_bytes,
              0U);
  }
  if (shape.tail_bytes == 0) return;
  ASSERT_LT(shape.tail_bytes, shape.item_bytes);
  ASSERT_EQ(shape.piece.rows, 1U);
  ASSERT_GT(copy_units(shape), 0U);
  store(shape.piece.to + shape.row_items * shape.item_bytes - base, shape.tail_bytes);
}

TEST(CopyShape, StoresEveryByteOnce) {
  alignas(16) std::byte from[4096];
  alignas(16) std::byte to[8192];
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    CopyPiece piece{};
    const std::uint64_t unit = std::uint64_t{1} << random() % 5;
    const auto some = [&](std::uint64_t max) { return random() % (max / unit + 1) * unit; };
    piece.rows = random() % 7;
    piece.row_bytes = some(300);
    piece.to_stride = piece.row_bytes + (random() % 2 == 0 ? 0 : some(64));
    piece.from_stride = piece.row_bytes + (random() % 2 == 0 ? 0 : some(64));
    const std::uint64_t to_offset = some(48);
    piece.to = address_of(to) + to_offset;
    piece.from = random() % 3 == 0 ? 0 : address_of(from) + some(48);
    std::vector<int> wanted(sizeof to, 0);
    for (std::uint64_t row = 0; row < piece.rows; ++row) {
      for (std::uint64_t i = 0; i < piece.row_bytes; ++i) {
        ++wanted[to_offset + row * piece.to_stride + i];
      }
    }
    std::vector<int> stores(sizeof to, 0);
    ASSERT_NO_FATAL_FAILURE(count_stores(copy_shape(piece), to, stores));
    ASSERT_EQ(stores, wanted) << "round " << round;
  }
}

TEST(CopyShape, TakesTheWidestAccessThatAllRowsAllow) {
  // Rows of a hidden state, out of a wider buffer.
  EXPECT_EQ(copy_shape({4096, 8192, 4, 14336, 14336, 20480}).item_bytes, 16U);
  // One element off: bf16 at an odd element.
  EXPECT_EQ(copy_shape({4098, 8192, 4, 14336, 14336, 20480}).item_bytes, 2U);
  // Dense rows are one row, whatever their length.
  const CopyShape dense = copy_shape({4096, 8192, 3, 10, 10, 10});
  EXPECT_EQ(dense.item_bytes, 16U);
  EXPECT_EQ(dense.items, 1U);
  EXPECT_EQ(dense.tail_bytes, 14U);
}

TEST(CopyShape, NoBytesAreNoUnits) {
  EXPECT_EQ(copy_units(copy_shape({4096, 8192, 0, 16, 16, 16})), 0U);
  EXPECT_EQ(copy_units(copy_shape({4096, 8192, 5, 0, 16, 16})), 0U);
  EXPECT_EQ(copy_units(copy_shape({4096, 8192, 1, 3, 0, 0})), 1U);
}

}  // namespace
}  // namespace cohort::cuda
