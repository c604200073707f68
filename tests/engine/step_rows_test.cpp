#include "engine/step_rows.hpp"

#include <map>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

namespace cohort {
namespace {

std::vector<LayoutSizes> all_layouts() {
  std::vector<LayoutSizes> layouts;
  for (const std::uint32_t tp : {1U, 2U, 3U, 4U, 6U, 8U}) {
    for (std::uint32_t dp = 1; dp <= tp; ++dp) {
      for (std::uint32_t cp = 1; cp <= tp; ++cp) {
        if (tp % (dp * cp) == 0) layouts.push_back({.tp = tp, .attn_dp = dp, .attn_cp = cp});
      }
    }
  }
  return layouts;
}

std::vector<Request> some_requests(std::mt19937& generator) {
  std::vector<Request> requests;
  for (std::size_t i = 0; i < 1 + generator() % 7; ++i) {
    Request request;
    for (std::size_t t = 0; t < 1 + generator() % 40; ++t) {
      request.prompt.push_back(static_cast<TokenId>(1000 * i + t));
    }
    request.completion_tokens_max = 3;
    requests.push_back(std::move(request));
  }
  return requests;
}

/// (sequence in the cache, position) of each row, in the order of the rows.
using Places = std::map<std::size_t, std::pair<std::size_t, std::size_t>>;

Places places_of(const std::vector<TokenRun>& runs) {
  Places places;
  for (const TokenRun& run : runs) {
    for (std::size_t i = 0; i < run.count; ++i) {
      const bool is_new =
          places.emplace(run.local_row + i, std::pair(run.sequence, run.position + i)).second;
      EXPECT_TRUE(is_new) << "two tokens in one row";
    }
  }
  return places;
}

/// What all ranks of a layout make of one step.
class StepOfAllRanks {
 public:
  StepOfAllRanks(const Layout& layout, const Schedule& schedule, const ScheduledStep& step)
      : layout_(layout), schedule_(schedule), step_(step) {
    for (std::uint32_t rank = 0; rank < layout.world_size(); ++rank) {
      rows_.push_back(step_rows(layout, WorldRank{rank}, schedule, step));
    }
  }

  void check() const {
    for (std::uint32_t rank = 0; rank < layout_.world_size(); ++rank) {
      SCOPED_TRACE("rank " + std::to_string(rank));
      check_rows(WorldRank{rank});
      check_agreement(WorldRank{rank});
    }
    check_last_rows();
  }

 private:
  const StepRows& of(WorldRank rank) const { return rows_[rank.index()]; }

  void check_rows(WorldRank rank) const {
    const StepRows& own = of(rank);
    const RowRange range = own.rows.range(layout_, own.rows.attention(), rank);
    EXPECT_EQ(own.tokens.size(), range.count);
    const auto& chunks = step_.replicas[layout_.attn_dp_rank(rank)];
    std::map<std::pair<std::size_t, std::size_t>, TokenId> wanted;  // of the replica
    for (const StepChunk& chunk : chunks) {
      for (std::size_t i = 0; i < chunk.count; ++i) {
        wanted[{chunk.sequence, chunk.position + i}] =
            schedule_.token_at(chunk.request, chunk.position + i);
      }
    }
    for (const auto& [row, place] : places_of(own.runs)) {
      ASSERT_LT(row, own.tokens.size());
      ASSERT_TRUE(wanted.contains(place));
      EXPECT_EQ(own.tokens[row], wanted.at(place));
    }
    // Whatever was gathered, a rank caches all new tokens of its replica.
    std::set<std::pair<std::size_t, std::size_t>> cached;
    for (const auto& [row, place] : places_of(own.cached_runs)) cached.insert(place);
    EXPECT_EQ(cached.size(), wanted.size());
    for (const auto& [place, token] : wanted) EXPECT_TRUE(cached.contains(place));
  }

  /// What a rank caches from a gathered row is what the row's owner computed there.
  void check_agreement(WorldRank rank) const {
    EXPECT_EQ(of(rank).requests, of(WorldRank{0}).requests);
    EXPECT_EQ(of(rank).replica_last_counts, of(WorldRank{0}).replica_last_counts);
    if (!step_.prefill) return;
    const Places cached = places_of(of(rank).cached_runs);
    std::size_t gathered_row = 0;
    for (const WorldRank member : layout_.group_of(GroupKind::attn_cp, rank)) {
      const Places computed = places_of(of(member).runs);
      for (const auto& [row, place] : computed) EXPECT_EQ(cached.at(gathered_row + row), place);
      gathered_row += computed.size();
    }
    EXPECT_EQ(gathered_row, cached.size());
  }

  /// Last rows, gathered from all ranks in order, are those of `requests`, in order.
  void check_last_rows() const {
    std::vector<std::size_t> gathered;
    std::size_t next_row = 0;
    for (std::uint32_t r = 0; r < layout_.world_size(); ++r) {
      const StepRows& own = of(WorldRank{r});
      const RowRange range = own.last_rows.range(layout_, own.last_rows.attention(), WorldRank{r});
      EXPECT_EQ(own.own_last_rows.size(), range.count);
      if (range.first != next_row || range.count == 0) continue;  // a twin's rows
      next_row = range.end();
      const Places places = places_of(own.runs);
      for (const std::size_t row : own.own_last_rows) {
        const auto [sequence, position] = places.at(row);
        for (const StepChunk& chunk : step_.replicas[layout_.attn_dp_rank(WorldRank{r})]) {
          if (chunk.sequence != sequence) continue;
          EXPECT_TRUE(chunk.wants_token);
          EXPECT_EQ(position, chunk.position + chunk.count - 1);
          gathered.push_back(chunk.request);
        }
      }
    }
    EXPECT_EQ(gathered, rows_[0].requests);
    EXPECT_EQ(next_row, rows_[0].last_rows.total());
  }

  const Layout& layout_;
  const Schedule& schedule_;
  const ScheduledStep& step_;
  std::vector<StepRows> rows_;
};

TEST(StepRows, RanksTogetherComputeTheStep) {
  for (const LayoutSizes& sizes : all_layouts()) {
    const Layout layout(sizes);
    for (std::uint32_t seed = 0; seed < 6; ++seed) {
      SCOPED_TRACE("tp " + std::to_string(sizes.tp) + " attn_dp " + std::to_string(sizes.attn_dp) +
                   " attn_cp " + std::to_string(sizes.attn_cp) + " seed " + std::to_string(seed));
      std::mt19937 generator(seed);
      const auto requests = some_requests(generator);
      Schedule schedule(requests, {.replica_count = sizes.attn_dp,
                                   .maxima = {64, 1 + generator() % 3, 1 + generator() % 30},
                                   .stop_tokens = {}});
      while (const auto step = schedule.next()) {
        StepOfAllRanks(layout, schedule, *step).check();
        const StepRows rows = step_rows(layout, WorldRank{0}, schedule, *step);
        for (const std::size_t request : rows.requests) schedule.take({request, 5});
      }
    }
  }
}

}  // namespace
}  // namespace cohort
