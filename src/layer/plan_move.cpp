#include <utility>

#include <cohort/error.hpp>
#include <cohort/layer.hpp>

#include "layer/axis_chain.hpp"

namespace cohort {

namespace {

using layer::Level;
using layer::Span;

constexpr const char* kPhase = "plan_move";

[[noreturn]] void refuse(ErrorCode code, const Move& move, const std::string& why) {
  throw Error(code,
              "no move from " + to_string(move.from) + " to " + to_string(move.to) + ": " + why,
              std::nullopt, kPhase);
}

Level level_of(const Layout& layout, const Move& move, const Placement& placement) {
  if (const auto level = layer::level_of(layout, placement.sharded_over)) return *level;
  refuse(ErrorCode::unsupported, move, layer::describe_gap(placement.sharded_over));
}

void require_fit(const Layout& layout, const BatchRows& rows) {
  if (rows.fits(layout)) return;
  throw Error(ErrorCode::usage, "the rows were counted for a layout of other sizes", std::nullopt,
              kPhase);
}

/// Where the rows are while steps are added.
class Route {
 public:
  Route(const Layout& layout, const Placement& from, Level level) : layout_(layout), level_(level) {
    if (normalized(layout, from).owes_sum) owes_sum_ = from.owes_sum;
  }

  Level level() const noexcept { return level_; }
  Level finest() const noexcept { return layer::merged(layout_, Level::slice); }

  /// To a level at least as fine; of replicated rows each rank keeps its own part.
  void slice_to(Level target) {
    if (target != level_) step(StepKind::local_slice, std::nullopt, target);
  }

  void all_reduce(GroupKind group) { step(StepKind::all_reduce, group, level_); }

  void reduce_scatter(GroupKind group, Level target) {
    step(StepKind::reduce_scatter, group, target);
  }

  void all_gather(GroupKind group, Level target) { step(StepKind::all_gather, group, target); }

  /// To a coarser level, by one gather.
  void gather_to(Level target) {
    if (target == level_) return;
    if (target == Level::all) {
      // No group joins only the ranks that hold different rows, so the replicas share the work.
      slice_to(finest());
      all_gather(GroupKind::tp, target);
      return;
    }
    auto group = group_between(target, level_);
    if (!group) {
      slice_to(finest());
      group = group_between(target, level_);
    }
    all_gather(group.value(), target);
  }

  std::vector<Step> take_steps() { return std::move(steps_); }

 private:
  std::optional<GroupKind> group_between(Level coarse, Level fine) const {
    for (const GroupKind kind : {GroupKind::attn_tp, GroupKind::attn_cp, GroupKind::attn}) {
      if (layout_.group_size(kind) > 1 && layer::span_of(layout_, kind) == Span{coarse, fine}) {
        return kind;
      }
    }
    return std::nullopt;
  }

  void step(StepKind kind, std::optional<GroupKind> group, Level target) {
    const Placement before{layer::axes_of(layout_, level_), owes_sum_};
    if (kind == StepKind::all_reduce || kind == StepKind::reduce_scatter) owes_sum_.reset();
    level_ = target;
    steps_.push_back({kind,
                      group,
                      before,
                      {layer::axes_of(layout_, level_), owes_sum_},
                      level_ == Level::all ? BufferRole::global : BufferRole::local});
  }

  const Layout& layout_;
  Level level_;
  std::optional<GroupKind> owes_sum_;
  std::vector<Step> steps_;
};

/// The span of the sum that `placement` owes; nothing if it is complete.
std::optional<Span> owed_span(const Layout& layout, const Move& move, const Placement& placement) {
  const auto sum = normalized(layout, placement).owes_sum;
  if (!sum) return std::nullopt;
  const std::string name(to_string(*placement.owes_sum));
  const auto span = layer::span_of(layout, *sum);
  if (!span) refuse(ErrorCode::unsupported, move, "sums over " + name + " are not planned");
  if (level_of(layout, move, placement) > span->coarse) {
    refuse(ErrorCode::usage, move,
           "a sum over " + name + " cannot be owed, its ranks hold different rows");
  }
  return span;
}

void require_honest_sums(const Layout& layout, const Move& move) {
  const auto owed = normalized(layout, move.from).owes_sum;
  const auto still_owed = normalized(layout, move.to).owes_sum;
  if (!still_owed || still_owed == owed) return;
  if (!owed) {
    refuse(ErrorCode::usage, move,
           "the rows are complete, a later sum would count them " +
               std::to_string(layout.group_size(*still_owed)) + " times");
  }
  refuse(ErrorCode::usage, move,
         "the sum over " + std::string(to_string(*move.from.owes_sum)) + " would be lost");
}

}  // namespace

Move plan_move(const Layout& layout, const Placement& from, const Placement& to,
               const BatchRows& rows) {
  Move move{from, to, {}};
  require_fit(layout, rows);
  Route route(layout, from, level_of(layout, move, from));
  const Level target = level_of(layout, move, to);
  const auto owed = owed_span(layout, move, from);
  const bool still_owed = owed_span(layout, move, to).has_value();
  require_honest_sums(layout, move);
  if (still_owed && target < route.level()) {
    refuse(ErrorCode::unsupported, move, "rows are not gathered while they owe a sum");
  }
  if (owed && !still_owed) {
    if (target >= route.level() && target <= owed->coarse) {
      route.slice_to(target);
      route.all_reduce(*from.owes_sum);
    } else {
      // Adding up while scattering moves each row once less than an all-reduce before the gather.
      route.slice_to(owed->coarse);
      route.reduce_scatter(*from.owes_sum, owed->fine);
    }
  }
  if (target > route.level()) {
    route.slice_to(target);
  } else {
    route.gather_to(target);
  }
  move.steps = route.take_steps();
  return move;
}

Move plan_context_gather(const Layout& layout, const BatchRows& rows) {
  require_fit(layout, rows);
  const Placement chunk{{TokenAxis::attn_dp, TokenAxis::attn_cp}, std::nullopt};
  const Placement replica{{TokenAxis::attn_dp}, std::nullopt};
  Route route(layout, chunk, layer::merged(layout, Level::chunk));
  if (layout.sizes().attn_cp > 1) {
    route.all_gather(GroupKind::attn_cp, layer::merged(layout, Level::replica));
  }
  return {chunk, replica, route.take_steps()};
}

}  // namespace cohort
