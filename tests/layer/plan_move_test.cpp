#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "layer/layouts.hpp"

namespace cohort {
namespace {

using test::attention_layouts;
using test::even_rows;
using test::kChunk;
using test::kEverywhere;
using test::kReplica;
using test::kSlice;
using test::name_of;
using test::owing;

/// "reduce_scatter attn_tp > all_gather tp"
std::string route(const Layout& layout, const Placement& from, const Placement& to) {
  std::string text;
  for (const Step& step : plan_move(layout, from, to, even_rows(layout, 5)).steps) {
    text += text.empty() ? "" : " > ";
    switch (step.kind) {
      case StepKind::local_slice: text += "slice"; break;
      case StepKind::all_reduce: text += "all_reduce "; break;
      case StepKind::all_gather: text += "all_gather "; break;
      case StepKind::reduce_scatter: text += "reduce_scatter "; break;
    }
    if (step.group) text += to_string(*step.group);
  }
  return text;
}

const Layout kDpCpTp({.tp = 8, .attn_dp = 2, .attn_cp = 2});
const Layout kDpTp({.tp = 4, .attn_dp = 2});
const Layout kDp({.tp = 4, .attn_dp = 4});
const Layout kTp(LayoutSizes{.tp = 4});

const Placement kAttentionOut = owing(kChunk, GroupKind::attn_tp);
const Placement kDecodeOut = owing(kReplica, GroupKind::attn_tp);
const Placement kMlpOut = owing(kEverywhere, GroupKind::tp);

TEST(PlanMove, CompletesTheSumOfAttention) {
  EXPECT_EQ(route(kDpCpTp, kAttentionOut, kChunk), "all_reduce attn_tp");
  EXPECT_EQ(route(kDpCpTp, kDecodeOut, kReplica), "all_reduce attn_tp");
  EXPECT_EQ(route(kTp, kAttentionOut, kChunk), "all_reduce attn_tp");
  EXPECT_EQ(route(kDp, kAttentionOut, kChunk), "");
}

TEST(PlanMove, GathersReplicatedRowsByOneGatherOverTp) {
  EXPECT_EQ(route(kDpCpTp, kChunk, kEverywhere), "slice > all_gather tp");
  EXPECT_EQ(route(kDpCpTp, kReplica, kEverywhere), "slice > all_gather tp");
  EXPECT_EQ(route(kDp, kChunk, kEverywhere), "all_gather tp");
  EXPECT_EQ(route(kTp, kChunk, kEverywhere), "");
}

TEST(PlanMove, GathersPartialRowsByScatterAndGather) {
  EXPECT_EQ(route(kDpCpTp, kAttentionOut, kEverywhere), "reduce_scatter attn_tp > all_gather tp");
  EXPECT_EQ(route(kDpCpTp, kDecodeOut, kEverywhere),
            "slice > reduce_scatter attn_tp > all_gather tp");
  EXPECT_EQ(route(kDp, kAttentionOut, kEverywhere), "all_gather tp");
  EXPECT_EQ(route(kTp, kAttentionOut, kEverywhere), "all_reduce attn_tp");
}

TEST(PlanMove, ScattersTheSumOfTheMlp) {
  EXPECT_EQ(route(kDpCpTp, kMlpOut, kChunk), "reduce_scatter tp > all_gather attn_tp");
  EXPECT_EQ(route(kDpCpTp, kMlpOut, kReplica), "reduce_scatter tp > all_gather attn");
  EXPECT_EQ(route(kDpTp, kMlpOut, kReplica), "reduce_scatter tp > all_gather attn_tp");
  EXPECT_EQ(route(kDp, kMlpOut, kChunk), "reduce_scatter tp");
  EXPECT_EQ(route(kTp, kMlpOut, kChunk), "all_reduce tp");
  EXPECT_EQ(route(kDpCpTp, kMlpOut, kSlice), "reduce_scatter tp");
}

TEST(PlanMove, SlicesReplicatedRowsWithoutACall) {
  for (const Placement& to : {kReplica, kChunk, kSlice}) {
    EXPECT_EQ(route(kDpCpTp, kEverywhere, to), "slice");
  }
  EXPECT_EQ(route(kTp, kEverywhere, kChunk), "");
}

TEST(PlanMove, GathersAContextOverItsRanks) {
  EXPECT_EQ(route(kDpCpTp, kChunk, kReplica), "all_gather attn_cp");
  EXPECT_EQ(route(kDpCpTp, kSlice, kChunk), "all_gather attn_tp");
  EXPECT_EQ(route(kDpCpTp, kSlice, kReplica), "all_gather attn");
}

TEST(PlanMove, StepsSayWhereRowsGo) {
  const auto steps = plan_move(kDpCpTp, kDecodeOut, kEverywhere, even_rows(kDpCpTp, 5)).steps;
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0], (Step{StepKind::local_slice, std::nullopt, kDecodeOut, kAttentionOut,
                            BufferRole::local}));
  EXPECT_EQ(steps[1], (Step{StepKind::reduce_scatter, GroupKind::attn_tp, kAttentionOut, kSlice,
                            BufferRole::local}));
  EXPECT_EQ(steps[2],
            (Step{StepKind::all_gather, GroupKind::tp, kSlice, kEverywhere, BufferRole::global}));
}

// The choice of group follows SGLang's wherever it makes one: the rows of data-parallel replicas
// are gathered and their sums scattered over tp, what is left to restore within a replica over
// attn_tp (and attn_cp, which is one group `attn` here), sums of attention complete over attn_tp,
// and the MLP's over tp.
TEST(PlanMove, ChoosesTheGroupsOfSglang) {
  for (const Layout& layout : attention_layouts(16)) {
    SCOPED_TRACE(name_of(layout));
    const bool spread = layout.sizes().attn_dp * layout.sizes().attn_cp > 1;
    const bool split = layout.attn_tp() > 1;
    const Move gather = plan_move(layout, kReplica, kEverywhere, even_rows(layout, 5));
    if (layout.sizes().attn_dp > 1) {
      ASSERT_EQ(gather.steps.back().group, GroupKind::tp);
    } else {
      ASSERT_TRUE(gather.steps.empty());
    }
    const std::string scatter = route(layout, kMlpOut, kChunk);
    if (layout.sizes().tp == 1) {
      ASSERT_EQ(scatter, "");
    } else if (!spread) {
      ASSERT_EQ(scatter, "all_reduce tp");
    } else {
      ASSERT_EQ(scatter, split ? "reduce_scatter tp > all_gather attn_tp" : "reduce_scatter tp");
    }
    ASSERT_EQ(route(layout, kAttentionOut, kChunk), split ? "all_reduce attn_tp" : "");
  }
}

// Ranks without rows must take part in the same calls.
TEST(PlanMove, StepsDoNotDependOnRowCounts) {
  for (const Layout& layout : attention_layouts(8)) {
    for (const Placement& from : {kAttentionOut, kDecodeOut, kMlpOut, kChunk, kEverywhere}) {
      for (const Placement& to : {kChunk, kReplica, kEverywhere}) {
        EXPECT_EQ(plan_move(layout, from, to, even_rows(layout, 0)).steps,
                  plan_move(layout, from, to, even_rows(layout, 1000)).steps);
      }
    }
  }
}

void expect_refused(const Placement& from, const Placement& to, ErrorCode code,
                    const std::string& message) {
  try {
    (void)plan_move(kDpCpTp, from, to, even_rows(kDpCpTp, 5));
    ADD_FAILURE() << "planned: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    EXPECT_EQ(error.what(), message);
  }
}

TEST(PlanMove, RefusesMovesNamingThem) {
  expect_refused(kEverywhere, kMlpOut, ErrorCode::usage,
                 "no move from {} to {} owing a sum over tp: the rows are complete, a later sum "
                 "would count them 8 times");
  expect_refused(kAttentionOut, owing(kChunk, GroupKind::tp), ErrorCode::usage,
                 "no move from {attn_dp, attn_cp} owing a sum over attn_tp to {attn_dp, attn_cp} "
                 "owing a sum over tp: a sum over tp cannot be owed, its ranks hold different "
                 "rows");
  expect_refused(kMlpOut, owing(kEverywhere, GroupKind::attn_tp), ErrorCode::usage,
                 "no move from {} owing a sum over tp to {} owing a sum over attn_tp: the sum over "
                 "tp would be lost");
  expect_refused(owing(kSlice, GroupKind::attn_tp), kChunk, ErrorCode::usage,
                 "no move from {attn_dp, attn_cp, attn_tp} owing a sum over attn_tp to {attn_dp, "
                 "attn_cp}: a sum over attn_tp cannot be owed, its ranks hold different rows");
  expect_refused(kAttentionOut, owing(kReplica, GroupKind::attn_tp), ErrorCode::unsupported,
                 "no move from {attn_dp, attn_cp} owing a sum over attn_tp to {attn_dp} owing a "
                 "sum over attn_tp: rows are not gathered while they owe a sum");
  expect_refused(owing(kChunk, GroupKind::world), kChunk, ErrorCode::unsupported,
                 "no move from {attn_dp, attn_cp} owing a sum over world to {attn_dp, attn_cp}: "
                 "sums over world are not planned");
  expect_refused({{TokenAxis::attn_cp}, {}}, kEverywhere, ErrorCode::unsupported,
                 "no move from {attn_cp} to {}: rows sharded over {attn_cp} only; an axis must "
                 "come with those before it in attn_dp, attn_cp, attn_tp");
}

TEST(PlanMove, RefusesRowsOfAnotherLayout) {
  EXPECT_THROW((void)plan_move(kDpTp, kChunk, kEverywhere, even_rows(kDp, 1)), Error);
  EXPECT_THROW((void)plan_context_gather(kDpTp, even_rows(kDp, 1)), Error);
}

}  // namespace
}  // namespace cohort
