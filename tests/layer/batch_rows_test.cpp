#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "layer/layouts.hpp"

namespace cohort {
namespace {

using test::attention_layouts;
using test::kChunk;
using test::kEverywhere;
using test::kReplica;
using test::kSlice;

RowRange range(const Layout& layout, const BatchRows& rows, const Placement& placement,
               std::uint32_t rank) {
  return rows.range(layout, placement, WorldRank{rank});
}

TEST(BatchRows, ReplicasDivideTheirRowsAsEvenlyAsPossible) {
  const Layout layout({.tp = 8, .attn_dp = 2, .attn_cp = 2});
  const std::size_t counts[] = {7, 1};
  const BatchRows rows = BatchRows::by_replica(layout, counts);
  EXPECT_EQ(rows.total(), 8u);
  const RowRange slices[] = {{0, 2}, {2, 2}, {4, 2}, {6, 1}, {7, 1}, {8, 0}, {8, 0}, {8, 0}};
  for (std::uint32_t rank = 0; rank < 8; ++rank) {
    EXPECT_EQ(range(layout, rows, kSlice, rank), slices[rank]) << rank;
    EXPECT_EQ(range(layout, rows, kEverywhere, rank), (RowRange{0, 8}));
    EXPECT_EQ(range(layout, rows, kReplica, rank), rank < 4 ? (RowRange{0, 7}) : (RowRange{7, 1}));
  }
  EXPECT_EQ(range(layout, rows, kChunk, 1), (RowRange{0, 4}));
  EXPECT_EQ(range(layout, rows, kChunk, 2), (RowRange{4, 3}));
}

TEST(BatchRows, SlicesDifferByOneRowAtMostWithinAReplica) {
  for (const Layout& layout : attention_layouts(16)) {
    for (std::size_t count = 0; count < 40; ++count) {
      const BatchRows rows = test::even_rows(layout, count);
      for (std::uint32_t rank = 0; rank < layout.world_size(); ++rank) {
        const std::size_t share = layout.attn_tp() * layout.sizes().attn_cp;
        const std::size_t slice = range(layout, rows, kSlice, rank).count;
        ASSERT_GE(slice, count / share) << test::name_of(layout);
        ASSERT_LE(slice, (count + share - 1) / share) << test::name_of(layout);
      }
    }
  }
}

TEST(BatchRows, ChunksKeepTheirCounts) {
  const Layout layout({.tp = 4, .attn_dp = 2, .attn_cp = 2});
  const std::size_t counts[] = {3, 0, 10, 1};
  const BatchRows rows = BatchRows::by_chunk(layout, counts);
  EXPECT_EQ(range(layout, rows, kChunk, 0), (RowRange{0, 3}));
  EXPECT_EQ(range(layout, rows, kChunk, 1), (RowRange{3, 0}));
  EXPECT_EQ(range(layout, rows, kChunk, 2), (RowRange{3, 10}));
  EXPECT_EQ(range(layout, rows, kChunk, 3), (RowRange{13, 1}));
  EXPECT_EQ(range(layout, rows, kReplica, 3), (RowRange{3, 11}));
}

TEST(BatchRows, EveryPipelineStageHoldsTheSameRows) {
  const Layout layout({.tp = 2, .attn_dp = 2, .pp = 2});
  const std::size_t counts[] = {3, 5};
  const BatchRows rows = BatchRows::by_replica(layout, counts);
  EXPECT_EQ(range(layout, rows, kReplica, 1), (RowRange{3, 5}));
  EXPECT_EQ(range(layout, rows, kReplica, 3), (RowRange{3, 5}));
}

template <typename Call>
void expect_error(ErrorCode code, const char* message, Call call) {
  try {
    call();
    ADD_FAILURE() << "accepted: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    EXPECT_STREQ(error.what(), message);
  }
}

TEST(BatchRows, RefusesCountsAndAxesThatDoNotFit) {
  const Layout layout({.tp = 4, .attn_dp = 2, .attn_cp = 2});
  const std::size_t counts[] = {1, 2, 3};
  expect_error(ErrorCode::usage,
               "3 row counts given; the layout needs one for each of 2 replicas (--attn-dp)",
               [&] { (void)BatchRows::by_replica(layout, counts); });
  expect_error(
      ErrorCode::usage,
      "3 row counts given; the layout needs one for each of 4 chunks (--attn-dp x --attn-cp)",
      [&] { (void)BatchRows::by_chunk(layout, counts); });
  const BatchRows rows = test::even_rows(layout, 4);
  expect_error(ErrorCode::usage, "the rows were counted for a layout of other sizes",
               [&] { (void)rows.range(Layout({.tp = 4, .attn_dp = 4}), kReplica, WorldRank{0}); });
  expect_error(ErrorCode::unsupported,
               "rows sharded over {attn_cp} only; an axis must come with those before it in "
               "attn_dp, attn_cp, attn_tp",
               [&] {
                 (void)rows.range(layout, {{TokenAxis::attn_cp}, {}}, WorldRank{0});
               });
}

}  // namespace
}  // namespace cohort
