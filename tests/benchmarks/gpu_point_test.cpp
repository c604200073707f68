#include <cstdint>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "point.hpp"

namespace cohort::gpu_bench {
namespace {

constexpr std::uint64_t kRowBytes = 2 * std::uint64_t{kHidden};

Point rows_point(Operation operation, std::uint64_t rows) {
  return {operation, DType::bf16, rows * kRowBytes, false};
}

TEST(GpuPoint, EveryOperationIsFoundByItsName) {
  for (const Operation operation :
       {Operation::all_reduce, Operation::all_gather, Operation::reduce_scatter,
        Operation::all_gatherv, Operation::reduce_scatterv, Operation::all_reduce_norm,
        Operation::layer_step, Operation::layer_step_tp}) {
    EXPECT_EQ(parse_operation(to_string(operation)), operation);
  }
  EXPECT_STREQ(to_string(Operation::layer_step_tp), "layer_step_tp");
  EXPECT_THROW(parse_operation("layer"), std::runtime_error);
}

TEST(GpuPoint, RowsOfALayerGoToTheFirstRanksFirst) {
  const Shares three = layer_rows(5, 3, false);
  EXPECT_EQ(three.of(0), 2U);
  EXPECT_EQ(three.of(1), 2U);
  EXPECT_EQ(three.of(2), 1U);
  EXPECT_EQ(three.total, 5U);
  const Shares few = layer_rows(1, 4, false);
  EXPECT_EQ(few.of(0), 1U);
  for (std::uint32_t rank = 1; rank < 4; ++rank) EXPECT_EQ(few.of(rank), 0U);
  EXPECT_EQ(few.total, 1U);
}

TEST(GpuPoint, PaddedRowsAreAsManyOnEveryRank) {
  for (std::uint32_t ranks = 2; ranks <= kRanksMax; ++ranks) {
    for (std::uint64_t rows = 1; rows <= 33; ++rows) {
      const Shares padded = layer_rows(rows, ranks, true);
      const Shares own = layer_rows(rows, ranks, false);
      EXPECT_EQ(own.total, rows);
      EXPECT_GE(padded.total, rows);
      EXPECT_LT(padded.total, rows + ranks);
      for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        EXPECT_EQ(padded.of(rank), padded.of(0));
        EXPECT_GE(padded.of(rank), own.of(rank));
      }
      EXPECT_EQ(padded.of(0), own.of(0)) << "the largest share is no larger than it must be";
    }
  }
}

TEST(GpuPoint, CallsOfAStepAreWholeRowsForEachRank) {
  const Point gather = call_of_step(Operation::all_gather, 6);
  EXPECT_EQ(gather.bytes, 6 * kRowBytes);
  EXPECT_EQ(rows_of(gather), 6U);
  const Shares shares = shares_of(gather, 3);
  for (std::uint32_t rank = 0; rank < 3; ++rank) EXPECT_EQ(shares.of(rank), 2 * kHidden);
}

TEST(GpuPoint, BytesOfAStepAreThoseOfItsCalls) {
  // Half of 4 rows comes from the peer, and half goes there.
  EXPECT_EQ(wire_bytes(rows_point(Operation::layer_step, 4), 2), kBoundaries * 2 * 2 * kRowBytes);
  EXPECT_EQ(wire_bytes(rows_point(Operation::layer_step_tp, 4), 2), kBoundaries * 4 * kRowBytes);
  // The rank that has the only row must pass on all of it, and receives addends for all of it.
  EXPECT_EQ(wire_bytes(rows_point(Operation::layer_step, 1), 2), kBoundaries * 2 * kRowBytes);
  EXPECT_EQ(wire_bytes(rows_point(Operation::layer_step, 1), 4), kBoundaries * 2 * 3 * kRowBytes);
}

TEST(GpuPoint, SharesOfCollectivesCoverEverything) {
  for (const Operation operation : {Operation::all_gather, Operation::all_gatherv}) {
    const Point point{operation, DType::f32, std::uint64_t{1} << 20, false};
    const Shares shares = shares_of(point, 3);
    EXPECT_EQ(shares.begins[0], 0U);
    EXPECT_EQ(shares.of(0) + shares.of(1) + shares.of(2), point.bytes / 4);
  }
}

}  // namespace
}  // namespace cohort::gpu_bench
