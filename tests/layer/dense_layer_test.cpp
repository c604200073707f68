#include <functional>

#include <gtest/gtest.h>

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
using Row = std::vector<std::int64_t>;
using Rows = SimulatedRanks::Rows;

// A dense decoder in integers: attention and MLP add to the residual what their heads and columns
// yield; `kParts` of them are dealt out to the ranks that share the work. As on floats, the order
// of moves matters; as integers, every layout must give the same bits.
constexpr std::size_t kParts = 48;
constexpr std::size_t kWidth = 2;
constexpr int kLayers = 3;

std::int64_t part_value(std::int64_t value, std::size_t part, std::int64_t salt) {
  return (value * value + salt * static_cast<std::int64_t>(part)) % 1009;
}

/// The sum of the parts that rank `index` of `count` has.
Row partial(const Row& row, std::size_t index, std::size_t count, std::int64_t salt) {
  Row result(row.size(), 0);
  for (std::size_t part = index; part < kParts; part += count) {
    for (std::size_t j = 0; j < row.size(); ++j) result[j] += part_value(row[j], part, salt);
  }
  return result;
}

void transform(Rows& rows, std::size_t index, std::size_t count, std::int64_t salt) {
  for (Row& row : rows) row = partial(row, index, count, salt);
}

void add(Rows& rows, const Rows& other) {
  ASSERT_EQ(rows.size(), other.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < rows[i].size(); ++j) rows[i][j] += other[i][j];
  }
}

Rows reference(Rows rows) {
  for (int layer = 0; layer < kLayers; ++layer) {
    for (const std::int64_t salt : {3, 7}) {
      Rows yields = rows;
      transform(yields, 0, 1, salt);
      add(rows, yields);
    }
  }
  return rows;
}

/// Runs the layers with attention on `attention` rows and the residual kept as `residual` rows.
void run_layers(SimulatedRanks& ranks, const Layout& layout, const Placement& attention,
                const Placement& residual) {
  const auto move = [&](const Placement& from, const Placement& to) {
    ranks.run(plan_move(layout, from, to, ranks.rows()));
  };
  std::vector<Rows> kept(layout.world_size());
  const auto join_residual = [&] {
    for (std::uint32_t r = 0; r < kept.size(); ++r) {
      ASSERT_NO_FATAL_FAILURE(add(ranks.of(r), kept[r]));
      kept[r] = ranks.of(r);
    }
  };
  ranks.hold(residual);
  for (std::uint32_t r = 0; r < kept.size(); ++r) kept[r] = ranks.of(r);
  for (int layer = 0; layer < kLayers; ++layer) {
    move(residual, attention);
    for (std::uint32_t r = 0; r < kept.size(); ++r) {
      transform(ranks.of(r), layout.attn_tp_rank(WorldRank{r}), layout.attn_tp(), 3);
    }
    move(owing(attention, GroupKind::attn_tp), residual);
    ASSERT_NO_FATAL_FAILURE(join_residual());
    move(residual, kEverywhere);
    for (std::uint32_t r = 0; r < kept.size(); ++r) {
      transform(ranks.of(r), r, layout.sizes().tp, 7);
    }
    move(owing(kEverywhere, GroupKind::tp), residual);
    ASSERT_NO_FATAL_FAILURE(join_residual());
  }
}

TEST(DenseLayer, ResultDoesNotDependOnTheLayout) {
  for (const Layout& layout : attention_layouts(8)) {
    const std::size_t chunk_count = std::size_t{layout.sizes().attn_dp} * layout.sizes().attn_cp;
    for (const std::size_t scale : {0u, 1u, 5u}) {
      std::vector<std::size_t> counts;
      for (std::size_t i = 0; i < chunk_count; ++i) counts.push_back(scale * (i * 5 % 4));
      for (const Placement& attention : {kReplica, kChunk}) {
        for (const Placement& residual : {kReplica, kChunk, kSlice}) {
          SCOPED_TRACE(name_of(layout) + ": attention " + to_string(attention) + ", residual " +
                       to_string(residual));
          SimulatedRanks ranks(layout, counts, kWidth, 21);
          const Rows wanted = reference(ranks.truth());
          ASSERT_NO_FATAL_FAILURE(run_layers(ranks, layout, attention, residual));
          ranks.set_truth(wanted);
          ASSERT_NO_FATAL_FAILURE(ranks.expect(residual));
        }
      }
    }
  }
}

}  // namespace
}  // namespace cohort
