#include <gtest/gtest.h>

#include "layer/layouts.hpp"

namespace cohort {
namespace {

using test::kChunk;
using test::kEverywhere;
using test::kReplica;
using test::kSlice;
using test::owing;

TEST(Placement, AxesOfOneRankMeanNothing) {
  const Layout dp_only({.tp = 2, .attn_dp = 2});
  EXPECT_EQ(normalized(dp_only, kSlice), kReplica);
  EXPECT_EQ(normalized(dp_only, kChunk), kReplica);
  const Layout tp_only(LayoutSizes{.tp = 2});
  EXPECT_EQ(normalized(tp_only, kChunk), kEverywhere);
  EXPECT_EQ(normalized(tp_only, kSlice), (Placement{{TokenAxis::attn_tp}, {}}));
  const Layout all({.tp = 8, .attn_dp = 2, .attn_cp = 2});
  for (const Placement& placement : {kEverywhere, kReplica, kChunk, kSlice}) {
    EXPECT_EQ(normalized(all, placement), placement);
  }
}

// With tp == attn_cp a slice and a chunk are one rank's rows, but with attn_dp == tp so are they of
// another axis: sets of axes tell apart what counts of ranks would confuse.
TEST(Placement, EqualRankCountsAreNotEqualPlacements) {
  const Layout layout({.tp = 4, .attn_dp = 2, .attn_cp = 2});
  EXPECT_NE(normalized(layout, kReplica), normalized(layout, {{TokenAxis::attn_cp}, {}}));
}

TEST(Placement, SumsOverOneRankAreNone) {
  const Layout layout({.tp = 4, .attn_dp = 4});
  EXPECT_EQ(normalized(layout, owing(kReplica, GroupKind::attn_tp)), kReplica);
  EXPECT_EQ(normalized(layout, owing(kReplica, GroupKind::moe_ep)), kReplica);
}

TEST(Placement, SumsOverEqualRanksAreEqual) {
  const Layout alone(LayoutSizes{.tp = 4});
  EXPECT_EQ(normalized(alone, owing(kEverywhere, GroupKind::tp)),
            normalized(alone, owing(kEverywhere, GroupKind::attn_tp)));
  const Layout split({.tp = 4, .attn_dp = 2});
  EXPECT_NE(normalized(split, owing(kEverywhere, GroupKind::tp)),
            normalized(split, owing(kEverywhere, GroupKind::attn_tp)));
  const Layout chunks({.tp = 4, .attn_cp = 4});
  EXPECT_EQ(normalized(chunks, owing(kEverywhere, GroupKind::tp)),
            normalized(chunks, owing(kEverywhere, GroupKind::attn_cp)));
}

TEST(Placement, ReadsInMessages) {
  EXPECT_EQ(to_string(kEverywhere), "{}");
  EXPECT_EQ(to_string(kSlice), "{attn_dp, attn_cp, attn_tp}");
  EXPECT_EQ(to_string(owing(kChunk, GroupKind::attn_tp)),
            "{attn_dp, attn_cp} owing a sum over attn_tp");
}

}  // namespace
}  // namespace cohort
