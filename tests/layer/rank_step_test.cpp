#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "layer/layouts.hpp"

namespace cohort {
namespace {

using test::kChunk;
using test::kEverywhere;
using test::owing;

const Layout kLayout({.tp = 4, .attn_dp = 2});

std::vector<RankStep> gather_on(const BatchRows& rows, std::uint32_t rank) {
  const Move move = plan_move(kLayout, owing(kChunk, GroupKind::attn_tp), kEverywhere, rows);
  return steps_on(kLayout, move, rows, WorldRank{rank});
}

TEST(RankStep, FillsInTheRowsOfOneRank) {
  const std::size_t counts[] = {5, 2};
  const auto steps = gather_on(BatchRows::by_replica(kLayout, counts), 1);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].op, Op::reduce_scatterv);
  EXPECT_EQ(steps[0].member, GroupRank{1});
  EXPECT_EQ(steps[0].group_size, 2u);
  EXPECT_EQ(steps[0].input, (RowRange{0, 5}));
  EXPECT_EQ(steps[0].output, (RowRange{3, 2}));
  EXPECT_EQ(steps[0].counts, (std::vector<std::size_t>{3, 2}));
  EXPECT_EQ(steps[1].op, Op::all_gatherv);
  EXPECT_EQ(steps[1].input, (RowRange{3, 2}));
  EXPECT_EQ(steps[1].output, (RowRange{0, 7}));
  EXPECT_EQ(steps[1].counts, (std::vector<std::size_t>{3, 2, 1, 1}));
}

TEST(RankStep, EqualCountsTakeThePlainCall) {
  const auto steps = gather_on(test::even_rows(kLayout, 6), 2);
  EXPECT_EQ(steps[0].op, Op::reduce_scatter);
  EXPECT_EQ(steps[1].op, Op::all_gather);
  const auto empty = gather_on(test::even_rows(kLayout, 0), 2);
  EXPECT_EQ(empty[0].op, Op::reduce_scatter);
  EXPECT_EQ(empty[1].op, Op::all_gather);
  EXPECT_EQ(empty[1].output, (RowRange{0, 0}));
}

TEST(RankStep, BytesFromPeers) {
  const std::size_t counts[] = {5, 2};
  const auto steps = gather_on(BatchRows::by_replica(kLayout, counts), 1);
  EXPECT_EQ(bytes_from_peers(steps[0], 10), 20u);
  EXPECT_EQ(bytes_from_peers(steps[1], 10), 50u);
  const BatchRows rows = test::even_rows(kLayout, 3);
  const Move sum = plan_move(kLayout, owing(kEverywhere, GroupKind::tp), kEverywhere, rows);
  const auto reduced = steps_on(kLayout, sum, rows, WorldRank{0});
  ASSERT_EQ(reduced.size(), 1u);
  EXPECT_EQ(reduced[0].op, Op::all_reduce);
  EXPECT_EQ(bytes_from_peers(reduced[0], 2), 18u);  // 6 rows of 2 bytes, 2 * 3 / 4 of them
  const Move slice = plan_move(kLayout, kEverywhere, kChunk, rows);
  EXPECT_EQ(bytes_from_peers(steps_on(kLayout, slice, rows, WorldRank{0}).at(0), 2), 0u);
}

TEST(RankStep, RefusesARankOutsideTheWorld) {
  EXPECT_THROW((void)gather_on(test::even_rows(kLayout, 1), 4), Error);
}

}  // namespace
}  // namespace cohort
