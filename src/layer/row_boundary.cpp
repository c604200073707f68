#include "layer/row_boundary.hpp"

#include <algorithm>
#include <memory>

#include <cohort/error.hpp>

namespace cohort::layer {

namespace {

constexpr std::size_t kAlignmentBytes = 64;

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::usage, why, std::nullopt, "layer");
}

bool is_sum(Op op) {
  return op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
}

[[noreturn]] void refuse_step() {
  refuse("a step of a move calls what no move needs");
}

Verdict run_plain(const Group& group, const RankStep& step, Tensor input, Tensor output) {
  switch (step.op.value()) {
    case Op::all_reduce: return group.all_reduce(input, output, ReduceOp::sum);
    case Op::all_gather: return group.all_gather(input, output);
    case Op::all_gatherv: return group.all_gatherv(input, output, step.counts);
    case Op::reduce_scatter: return group.reduce_scatter(input, output, ReduceOp::sum);
    case Op::reduce_scatterv:
      return group.reduce_scatterv(input, output, step.counts, ReduceOp::sum);
    default: refuse_step();
  }
}

Verdict run_normed(const Group& group, const RankStep& step, Tensor input, Tensor output,
                   const RmsNorm& norm) {
  switch (step.op.value()) {
    case Op::all_reduce: return group.all_reduce_rms_norm(output, norm);  // in place: one range
    case Op::reduce_scatter: return group.reduce_scatter_rms_norm(input, output, norm);
    case Op::reduce_scatterv:
      return group.reduce_scatterv_rms_norm(input, output, step.counts, norm);
    default: refuse_step();
  }
}

}  // namespace

RowBoundary::RowBoundary(BoundaryContext& context, const LayerSlots::Boundary& slots, DType dtype,
                         std::size_t row_elements, std::size_t rows_max)
    : context_(&context),
      slots_(slots),
      dtype_(dtype),
      row_elements_(row_elements),
      rows_max_(rows_max) {
  if (is_planned()) return;
  if (context.session->plan().options().memory != Memory::host) {
    refuse("a layer boundary on a GPU has no slot; plan_layers declares one");
  }
  ordinary_.resize(rows_max * row_elements * bytes_of(dtype) + kAlignmentBytes);
}

void RowBoundary::set(const Layout& layout, const Move& move, const BatchRows& rows,
                      WorldRank rank) {
  steps_ = steps_on(layout, move, rows, rank);
  from_ = rows.range(layout, move.from, rank);
  to_ = rows.range(layout, move.to, rank);
  rows_.first = std::min(from_.first, to_.first);
  sum_.first = to_.first;
  call_count_ = 0;
  taken_ = false;
  for (RankStep& step : steps_) {
    if (step.op) ++call_count_;
    for (std::size_t& count : step.counts) count *= row_elements_;
  }
  if (call_count_ > 0 && !is_planned()) refuse("a layer boundary has calls but no slot");
  if (call_count_ > 1 && !slots_.sum) refuse("a layer boundary has two calls but one slot");
}

Tensor RowBoundary::rows_of(const Window& window, RowRange range) const {
  return window.buffer.rows(range.first - window.first, range.count);
}

Tensor RowBoundary::input() {
  if (!is_planned()) {
    void* data = ordinary_.data();
    std::size_t space = ordinary_.size();
    std::align(kAlignmentBytes, 1, data, space);
    taken_ = true;
    return {data, from_.count * row_elements_, dtype_};
  }
  if (slots_.rows) {
    rows_.buffer = context_->session->take(*slots_.rows);
  } else {
    std::optional<Scope>& scope = context_->scope;
    scope.reset();
    scope.emplace(context_->session->scope(*slots_.blocks));
    rows_.buffer = scope->allocate(dtype_, rows_max_, row_elements_);
  }
  if (slots_.sum) sum_.buffer = context_->session->take(*slots_.sum);
  taken_ = true;
  return rows_of(rows_, from_);
}

ConstTensor RowBoundary::complete() {
  return run_steps(nullptr);
}

void RowBoundary::complete(const RmsNorm& norm) {
  const bool sums_last = !steps_.empty() && steps_.back().op && is_sum(*steps_.back().op);
  const ConstTensor rows = run_steps(sums_last ? &norm : nullptr);
  if (!sums_last) context_->session->rms_norm(rows, norm, context_->stream);
}

/// `norm` goes behind the last step.
ConstTensor RowBoundary::run_steps(const RmsNorm* norm) {
  if (!taken_) refuse("rows of a layer boundary are completed before they were asked for");
  if (!is_planned()) {
    const Tensor rows = input();
    taken_ = false;
    return {static_cast<const std::byte*>(rows.data) +
                (to_.first - from_.first) * row_elements_ * bytes_of(dtype_),
            to_.count * row_elements_, dtype_};
  }
  taken_ = false;
  std::size_t calls_left = call_count_;
  for (const RankStep& step : steps_) {
    if (!step.op) continue;
    const bool is_last = calls_left == 1;
    const bool scatters_first = calls_left-- == 2;
    const bool gathers_last = call_count_ == 2 && !scatters_first;
    run(step, gathers_last ? sum_ : rows_, call_count_ == 2 ? sum_ : rows_,
        is_last ? norm : nullptr);
  }
  return rows_of(call_count_ == 2 ? sum_ : rows_, to_);
}

void RowBoundary::run(const RankStep& step, const Window& source, const Window& target,
                      const RmsNorm* norm) {
  Group group = context_->session->group(step.group.value());
  if (context_->stream != Stream{}) group = group.on(context_->stream);
  const Tensor input = rows_of(source, step.input);
  const Tensor output = rows_of(target, step.output);
  Verdict verdict;
  if (norm != nullptr) {
    verdict = run_normed(group, step, input, output, *norm);
  } else {
    verdict = run_plain(group, step, input, output);
  }
  // The ledger keeps it; strict mode has thrown by now if it is not what the plan promised.
  static_cast<void>(verdict);
}

}  // namespace cohort::layer
