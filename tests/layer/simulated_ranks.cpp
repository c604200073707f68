#include "layer/simulated_ranks.hpp"

namespace cohort::test {

namespace {

using Rows = SimulatedRanks::Rows;

Rows sum_of(const Rows& a, const Rows& b, std::int64_t sign) {
  EXPECT_EQ(a.size(), b.size());
  Rows sum = a;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    for (std::size_t j = 0; j < sum[i].size(); ++j) sum[i][j] += sign * b.at(i)[j];
  }
  return sum;
}

Rows part_of(const Rows& rows, std::size_t first, std::size_t count) {
  EXPECT_LE(first + count, rows.size());
  const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(first);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

SimulatedRanks::SimulatedRanks(const Layout& layout, const std::vector<std::size_t>& chunk_counts,
                               std::size_t width, std::uint32_t seed)
    : layout_(layout),
      rows_(BatchRows::by_chunk(layout, chunk_counts)),
      random_(seed),
      held_(layout.world_size()) {
  for (std::uint32_t k = 0; k < chunk_counts.size(); ++k) {
    // Rows are dealt out like cards, then sorted by owner.
    std::vector<std::size_t> dealt(layout.attn_tp(), 0);
    for (std::size_t i = 0; i < chunk_counts[k]; ++i) ++dealt[i % dealt.size()];
    for (std::uint32_t t = 0; t < dealt.size(); ++t) {
      const Coordinates owner{k / layout.sizes().attn_cp, k % layout.sizes().attn_cp, t};
      owner_.insert(owner_.end(), dealt[t], owner);
    }
  }
  truth_.assign(owner_.size(), std::vector<std::int64_t>(width));
  for (auto& row : truth_) {
    for (auto& value : row) value = static_cast<std::int64_t>(random_() % 2001) - 1000;
  }
}

SimulatedRanks::Coordinates SimulatedRanks::coordinates(std::uint32_t rank) const {
  const WorldRank world{rank};
  return {layout_.attn_dp_rank(world), layout_.attn_cp_rank(world), layout_.attn_tp_rank(world)};
}

Rows SimulatedRanks::expected(const Placement& placement, std::uint32_t rank) const {
  const Coordinates self = coordinates(rank);
  const auto matches = [&](TokenAxis axis, std::uint32_t mine, std::uint32_t owners) {
    return !placement.sharded_over.contains(axis) || mine == owners;
  };
  Rows rows;
  for (std::size_t i = 0; i < truth_.size(); ++i) {
    if (matches(TokenAxis::attn_dp, self.dp, owner_[i].dp) &&
        matches(TokenAxis::attn_cp, self.cp, owner_[i].cp) &&
        matches(TokenAxis::attn_tp, self.tp, owner_[i].tp)) {
      rows.push_back(truth_[i]);
    }
  }
  return rows;
}

void SimulatedRanks::hold(const Placement& placement) {
  for (std::uint32_t r = 0; r < held_.size(); ++r) held_[r] = expected(placement, r);
  if (!placement.owes_sum) return;
  for (const auto& members : layout_.groups(*placement.owes_sum)) {
    for (std::size_t i = 1; i < members.size(); ++i) {
      Rows& partial = held_[members[i].index()];
      for (auto& row : partial) {
        for (auto& value : row) value = static_cast<std::int64_t>(random_() % 2001) - 1000;
      }
      Rows& rest = held_[members[0].index()];
      rest = sum_of(rest, partial, -1);
    }
  }
}

void SimulatedRanks::run(const Move& move) {
  std::vector<std::vector<RankStep>> by_rank;
  for (std::uint32_t r = 0; r < held_.size(); ++r) {
    by_rank.push_back(steps_on(layout_, move, rows_, WorldRank{r}));
    ASSERT_EQ(by_rank.back().size(), move.steps.size());
  }
  for (std::size_t i = 0; i < move.steps.size(); ++i) {
    std::vector<RankStep> steps;
    for (std::uint32_t r = 0; r < held_.size(); ++r) {
      const RankStep& step = by_rank[r][i];
      ASSERT_EQ(step.input.count, held_[r].size());
      if (!step.op) {
        ASSERT_GE(step.output.first, step.input.first);
        held_[r] = part_of(held_[r], step.output.first - step.input.first, step.output.count);
      }
      steps.push_back(step);
    }
    if (!move.steps[i].group) continue;
    for (const auto& members : layout_.groups(*move.steps[i].group)) {
      ASSERT_NO_FATAL_FAILURE(run_group(steps, members));
    }
  }
}

void SimulatedRanks::run_group(const std::vector<RankStep>& steps,
                               std::span<const WorldRank> members) {
  const RankStep& first = steps[members[0].index()];
  Rows gathered;
  Rows summed = held_[members[0].index()];
  for (std::size_t i = 0; i < members.size(); ++i) {
    const RankStep& step = steps[members[i].index()];
    ASSERT_EQ(step.op, first.op);
    ASSERT_EQ(step.counts, first.counts);
    ASSERT_EQ(step.member.index(), i);
    ASSERT_EQ(step.group_size, members.size());
    const Rows& rows = held_[members[i].index()];
    gathered.insert(gathered.end(), rows.begin(), rows.end());
    if (i > 0 && first.op != Op::all_gather && first.op != Op::all_gatherv) {
      ASSERT_EQ(step.input, first.input) << "a sum of different rows";
      summed = sum_of(summed, rows, 1);
    }
  }
  std::size_t offset = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    Rows& rows = held_[members[i].index()];
    switch (first.op.value()) {
      case Op::all_reduce: rows = summed; break;
      case Op::all_gather:
      case Op::all_gatherv:
        ASSERT_EQ(rows.size(), first.counts.at(i));
        rows = gathered;
        break;
      case Op::reduce_scatter:
      case Op::reduce_scatterv:
        rows = part_of(summed, offset, first.counts.at(i));
        offset += first.counts.at(i);
        break;
      default: FAIL() << "no step of a move";
    }
    ASSERT_EQ(rows.size(), steps[members[i].index()].output.count);
    if (first.op == Op::all_gather || first.op == Op::reduce_scatter) {
      ASSERT_EQ(first.counts.at(i), first.counts.at(0));
    }
  }
  if (first.op == Op::reduce_scatter || first.op == Op::reduce_scatterv) {
    ASSERT_EQ(offset, summed.size());
  }
}

void SimulatedRanks::expect(const Placement& placement) const {
  if (!placement.owes_sum) {
    for (std::uint32_t r = 0; r < held_.size(); ++r) {
      ASSERT_EQ(held_[r], expected(placement, r)) << "rank " << r;
    }
    return;
  }
  for (const auto& members : layout_.groups(*placement.owes_sum)) {
    Rows summed = held_[members[0].index()];
    for (std::size_t i = 1; i < members.size(); ++i) {
      summed = sum_of(summed, held_[members[i].index()], 1);
    }
    for (const WorldRank member : members) {
      ASSERT_EQ(summed, expected(placement, member.index())) << "rank " << member.index();
    }
  }
}

}  // namespace cohort::test
