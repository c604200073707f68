#include <numeric>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "layer/layouts.hpp"
#include "layer/simulated_ranks.hpp"

namespace cohort {
namespace {

using test::attention_layouts;
using test::kChunk;
using test::kEverywhere;
using test::kReplica;
using test::kSlice;
using test::name_of;
using test::owing;
using test::SimulatedRanks;

constexpr std::size_t kWidth = 3;

std::uint32_t ranks_along(const Layout& layout, TokenAxis axis) {
  switch (axis) {
    case TokenAxis::attn_dp: return layout.sizes().attn_dp;
    case TokenAxis::attn_cp: return layout.sizes().attn_cp;
    case TokenAxis::attn_tp: return layout.attn_tp();
  }
  return 0;
}

constexpr TokenAxis kAxes[] = {TokenAxis::attn_dp, TokenAxis::attn_cp, TokenAxis::attn_tp};

/// Every set of axes with every sum, sensible or not.
std::vector<Placement> all_placements() {
  std::vector<Placement> placements;
  for (unsigned bits = 0; bits < 8; ++bits) {
    AxisSet axes;
    for (unsigned i = 0; i < 3; ++i) {
      if (bits >> i & 1u) axes = axes | AxisSet{kAxes[i]};
    }
    placements.push_back({axes, std::nullopt});
    for (const GroupKind sum : {GroupKind::attn_tp, GroupKind::attn_cp, GroupKind::attn,
                                GroupKind::tp, GroupKind::moe_ep}) {
      placements.push_back({axes, sum});
    }
  }
  return placements;
}

/// Axes along which the layout has several ranks.
bool shards(const Layout& layout, const Placement& placement, TokenAxis axis) {
  return placement.sharded_over.contains(axis) && ranks_along(layout, axis) > 1;
}

bool sums_over(const Layout& layout, GroupKind group, TokenAxis axis) {
  if (ranks_along(layout, axis) == 1) return false;
  switch (group) {
    case GroupKind::tp: return true;
    case GroupKind::attn: return axis != TokenAxis::attn_dp;
    case GroupKind::attn_cp: return axis == TokenAxis::attn_cp;
    case GroupKind::attn_tp: return axis == TokenAxis::attn_tp;
    default: return false;
  }
}

/// The axes a rank's rows are sharded over form a prefix; a sum is over ranks with the same rows.
bool sensible(const Layout& layout, const Placement& placement) {
  bool before = true;
  for (const TokenAxis axis : kAxes) {
    if (ranks_along(layout, axis) == 1) continue;
    if (shards(layout, placement, axis) && !before) return false;
    before = shards(layout, placement, axis);
    if (placement.owes_sum && shards(layout, placement, axis) &&
        sums_over(layout, *placement.owes_sum, axis)) {
      return false;
    }
  }
  return true;
}

bool owes(const Layout& layout, const Placement& placement) {
  return placement.owes_sum && layout.group_size(*placement.owes_sum) > 1;
}

bool finer_or_equal(const Layout& layout, const Placement& a, const Placement& b) {
  for (const TokenAxis axis : kAxes) {
    if (shards(layout, b, axis) && !shards(layout, a, axis)) return false;
  }
  return true;
}

/// Whether a move exists at all, from the meaning of placements alone.
bool plannable(const Layout& layout, const Placement& from, const Placement& to) {
  if (!sensible(layout, from) || !sensible(layout, to)) return false;
  for (const Placement& placement : {from, to}) {
    if (owes(layout, placement) && *placement.owes_sum == GroupKind::moe_ep) return false;
  }
  if (!owes(layout, to)) return true;
  if (!owes(layout, from) || !finer_or_equal(layout, to, from)) return false;
  const auto a = layout.groups(*from.owes_sum);
  const auto b = layout.groups(*to.owes_sum);
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

/// Rows of each (replica, chunk): none, one, equal, very uneven, with holes, and context-parallel.
std::vector<std::vector<std::size_t>> row_patterns(const Layout& layout) {
  const std::size_t chunk_count = std::size_t{layout.sizes().attn_dp} * layout.sizes().attn_cp;
  std::vector<std::vector<std::size_t>> patterns(6, std::vector<std::size_t>(chunk_count, 0));
  patterns[1].assign(chunk_count, 1);
  patterns[2].assign(chunk_count, 2 * std::size_t{layout.attn_tp()});
  for (std::size_t i = 0; i < chunk_count; ++i) {
    patterns[3][i] = i + 1 == chunk_count ? 1 : 0;
    patterns[4][i] = i == 0 ? 37 : i % 3;
    patterns[5][i] = i * 7 % 5;
  }
  return patterns;
}

void expect_moves(const Layout& layout, const Placement& from, const Placement& to,
                  const std::vector<std::vector<std::size_t>>& patterns) {
  for (const auto& pattern : patterns) {
    SimulatedRanks ranks(layout, pattern, kWidth, 11);
    const Move move = plan_move(layout, from, to, ranks.rows());
    ranks.hold(from);
    ASSERT_NO_FATAL_FAILURE(ranks.run(move));
    ASSERT_NO_FATAL_FAILURE(ranks.expect(to));
    if (normalized(layout, from) == normalized(layout, to)) {
      ASSERT_TRUE(move.steps.empty());
    }
  }
}

void expect_all_moves(std::uint32_t tp_max) {
  const auto placements = all_placements();
  std::size_t planned = 0;
  std::size_t refused = 0;
  for (const Layout& layout : attention_layouts(tp_max)) {
    const auto patterns = row_patterns(layout);
    for (const Placement& from : placements) {
      for (const Placement& to : placements) {
        SCOPED_TRACE(name_of(layout) + ": " + to_string(from) + " to " + to_string(to));
        if (plannable(layout, from, to)) {
          ++planned;
          ASSERT_NO_FATAL_FAILURE(expect_moves(layout, from, to, patterns));
          continue;
        }
        ++refused;
        try {
          (void)plan_move(layout, from, to, test::even_rows(layout, 3));
          FAIL() << "planned a move that cannot be";
        } catch (const Error& error) {
          ASSERT_TRUE(error.code() == ErrorCode::usage || error.code() == ErrorCode::unsupported);
        }
      }
    }
  }
  EXPECT_GT(planned, 500u);
  EXPECT_GT(refused, 500u);
}

TEST(MoveOracle, EveryMoveKeepsItsPromiseOrIsRefused) {
  expect_all_moves(4);
}

// As above with the layouts that need more ranks; too slow for sanitizers, to which it is all
// alike.
TEST(MoveOracleLarge, EveryMoveKeepsItsPromiseOrIsRefused) {
  expect_all_moves(8);
}

TEST(MoveOracle, EveryPipelineStageMovesAlike) {
  const Layout layout({.tp = 4, .attn_dp = 2, .pp = 2});
  ASSERT_NO_FATAL_FAILURE(
      expect_moves(layout, owing(kChunk, GroupKind::attn_tp), kEverywhere, row_patterns(layout)));
  ASSERT_NO_FATAL_FAILURE(
      expect_moves(layout, owing(kEverywhere, GroupKind::tp), kChunk, row_patterns(layout)));
}

TEST(MoveOracle, ContextGatherCompletesReplicas) {
  for (const Layout& layout : attention_layouts(8)) {
    for (const auto& pattern : row_patterns(layout)) {
      SCOPED_TRACE(name_of(layout));
      SimulatedRanks ranks(layout, pattern, kWidth, 3);
      const Move move = plan_context_gather(layout, ranks.rows());
      ASSERT_EQ(move.steps.size(), layout.sizes().attn_cp > 1 ? 1u : 0u);
      ranks.hold(kChunk);
      ASSERT_NO_FATAL_FAILURE(ranks.run(move));
      ASSERT_NO_FATAL_FAILURE(ranks.expect(kReplica));
    }
  }
}

TEST(MoveOracle, GatherThenScatterIsTheIdentity) {
  for (const Layout& layout : attention_layouts(8)) {
    for (const auto& pattern : row_patterns(layout)) {
      for (const Placement& local : {kReplica, kChunk, kSlice}) {
        SCOPED_TRACE(name_of(layout) + " " + to_string(local));
        SimulatedRanks ranks(layout, pattern, kWidth, 5);
        ranks.hold(local);
        std::vector<SimulatedRanks::Rows> before;
        for (std::uint32_t r = 0; r < layout.world_size(); ++r) before.push_back(ranks.of(r));
        ranks.run(plan_move(layout, local, kEverywhere, ranks.rows()));
        ranks.run(plan_move(layout, kEverywhere, local, ranks.rows()));
        for (std::uint32_t r = 0; r < layout.world_size(); ++r) ASSERT_EQ(ranks.of(r), before[r]);
      }
    }
  }
}

TEST(MoveOracle, PartialGatherIsTheGatherOfTheSum) {
  for (const Layout& layout : attention_layouts(8)) {
    for (const auto& pattern : row_patterns(layout)) {
      SCOPED_TRACE(name_of(layout));
      SimulatedRanks partial(layout, pattern, kWidth, 9);
      SimulatedRanks replicated(layout, pattern, kWidth, 9);
      partial.hold(owing(kChunk, GroupKind::attn_tp));
      replicated.hold(kChunk);
      partial.run(
          plan_move(layout, owing(kChunk, GroupKind::attn_tp), kEverywhere, partial.rows()));
      replicated.run(plan_move(layout, kChunk, kEverywhere, replicated.rows()));
      for (std::uint32_t r = 0; r < layout.world_size(); ++r) {
        ASSERT_EQ(partial.of(r), replicated.of(r)) << "rank " << r;
      }
    }
  }
}

/// Ranks of a tp block with the same rows.
std::size_t holders(const Layout& layout, const Placement& placement) {
  std::size_t count = 1;
  for (const TokenAxis axis : kAxes) {
    if (!shards(layout, placement, axis)) count *= ranks_along(layout, axis);
  }
  return count;
}

/// Fewest transfers of one row over the whole block. A complete row must reach every rank that
/// lacks it. An owed one needs all its partial sums but one to arrive somewhere, then its copies.
std::size_t least_transfers(const Layout& layout, const Placement& from, const Placement& to) {
  const std::size_t needed = holders(layout, to);
  if (owes(layout, from)) return layout.group_size(*from.owes_sum) - 1 + needed - 1;
  return needed > holders(layout, from) ? needed - holders(layout, from) : 0;
}

/// What the plan may move beyond that, and why.
std::size_t surplus_transfers(const Layout& layout, const Placement& from, const Placement& to,
                              const Move& move) {
  if (!owes(layout, from)) {
    // No group joins one holder of each row with the ranks that lack it, so the slices that the
    // other holders could have spared are gathered too.
    const bool to_all = holders(layout, to) == layout.sizes().tp && !move.steps.empty();
    return to_all ? holders(layout, from) - 1 : 0;
  }
  if (move.steps.back().kind != StepKind::all_reduce) return 0;
  // Rows replicated along attn_cp are summed by each of those ranks alone, in one call.
  const std::size_t group_size = layout.group_size(*from.owes_sum);
  return (holders(layout, to) / group_size - 1) * (group_size - 2);
}

TEST(MoveOracle, MovesNoMoreBytesThanItMust) {
  constexpr std::size_t row_bytes = 720'720;  // by every group size up to 16: no rounding
  for (const Layout& layout : attention_layouts(16)) {
    for (const auto& pattern : row_patterns(layout)) {
      const BatchRows rows = BatchRows::by_chunk(layout, pattern);
      for (const Placement& from :
           {kEverywhere, kReplica, kChunk, kSlice, owing(kReplica, GroupKind::attn_tp),
            owing(kChunk, GroupKind::attn_tp), owing(kEverywhere, GroupKind::tp)}) {
        for (const Placement& to : {kEverywhere, kReplica, kChunk, kSlice}) {
          SCOPED_TRACE(name_of(layout) + ": " + to_string(from) + " to " + to_string(to));
          const Move move = plan_move(layout, from, to, rows);
          std::size_t bytes = 0;
          for (std::uint32_t r = 0; r < layout.world_size(); ++r) {
            for (const RankStep& step : steps_on(layout, move, rows, WorldRank{r})) {
              bytes += bytes_from_peers(step, row_bytes);
            }
          }
          ASSERT_EQ(bytes, rows.total() * row_bytes *
                               (least_transfers(layout, from, to) +
                                surplus_transfers(layout, from, to, move)));
        }
      }
    }
  }
}

}  // namespace
}  // namespace cohort
