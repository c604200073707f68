#include <algorithm>

#include <cohort/error.hpp>
#include <cohort/layer.hpp>

namespace cohort {

namespace {

bool all_equal(std::span<const std::size_t> counts) {
  return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
}

/// What to call. Members of one group see equal counts and so choose alike.
std::optional<Op> op_of(StepKind kind, std::span<const std::size_t> counts) {
  switch (kind) {
    case StepKind::local_slice: return std::nullopt;
    case StepKind::all_reduce: return Op::all_reduce;
    case StepKind::all_gather: return all_equal(counts) ? Op::all_gather : Op::all_gatherv;
    case StepKind::reduce_scatter:
      return all_equal(counts) ? Op::reduce_scatter : Op::reduce_scatterv;
  }
  return std::nullopt;
}

RankStep step_on(const Layout& layout, const Step& step, const BatchRows& rows, WorldRank rank) {
  RankStep result;
  result.group = step.group;
  result.input = rows.range(layout, step.before, rank);
  result.output = rows.range(layout, step.after, rank);
  result.target = step.target;
  if (step.group) {
    const auto members = layout.group_of(*step.group, rank);
    const auto self = std::find(members.begin(), members.end(), rank) - members.begin();
    result.member = GroupRank{static_cast<std::uint32_t>(self)};
    result.group_size = static_cast<std::uint32_t>(members.size());
    if (step.kind != StepKind::all_reduce) {
      const Placement& parts = step.kind == StepKind::all_gather ? step.before : step.after;
      for (const WorldRank member : members) {
        result.counts.push_back(rows.range(layout, parts, member).count);
      }
    }
  }
  result.op = op_of(step.kind, result.counts);
  return result;
}

}  // namespace

std::vector<RankStep> steps_on(const Layout& layout, const Move& move, const BatchRows& rows,
                               WorldRank rank) {
  if (rank.index() >= layout.world_size()) {
    throw Error(ErrorCode::usage,
                "rank " + std::to_string(rank.index()) + " is not one of the layout's " +
                    std::to_string(layout.world_size()) + " ranks",
                rank, "plan_move");
  }
  std::vector<RankStep> steps;
  steps.reserve(move.steps.size());
  for (const Step& step : move.steps) steps.push_back(step_on(layout, step, rows, rank));
  return steps;
}

std::size_t bytes_from_peers(const RankStep& step, std::size_t row_bytes) noexcept {
  if (!step.op) return 0;
  const std::size_t peer_count = step.group_size - 1;
  switch (*step.op) {
    case Op::all_reduce: {
      const std::size_t bytes = step.input.count * row_bytes;
      return (2 * peer_count * bytes + peer_count) / step.group_size;  // parts rounded up
    }
    case Op::all_gather:
    case Op::all_gatherv: return (step.output.count - step.input.count) * row_bytes;
    case Op::reduce_scatter:
    case Op::reduce_scatterv: return step.output.count * peer_count * row_bytes;
    default: return 0;
  }
}

}  // namespace cohort
