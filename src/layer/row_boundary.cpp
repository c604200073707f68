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
    const bool scatters_first = calls_left-- == 2;
    const bool gathers_last = call_count_ == 2 && !scatters_first;
    run(step, gathers_last ? sum_ : rows_, call_count_ == 2 ? sum_ : rows_);
  }
  return rows_of(call_count_ == 2 ? sum_ : rows_, to_);
}

void RowBoundary::run(const RankStep& step, const Window& source, const Window& target) {
  Group group = context_->session->group(step.group.value());
  if (context_->stream != Stream{}) group = group.on(context_->stream);
  const Tensor input = rows_of(source, step.input);
  const Tensor output = rows_of(target, step.output);
  Verdict verdict;
  switch (step.op.value()) {
    case Op::all_reduce: verdict = group.all_reduce(input, output, ReduceOp::sum); break;
    case Op::all_gather: verdict = group.all_gather(input, output); break;
    case Op::all_gatherv: verdict = group.all_gatherv(input, output, step.counts); break;
    case Op::reduce_scatter: verdict = group.reduce_scatter(input, output, ReduceOp::sum); break;
    case Op::reduce_scatterv:
      verdict = group.reduce_scatterv(input, output, step.counts, ReduceOp::sum);
      break;
    default: refuse("a step of a move calls what no move needs");
  }
  // The ledger keeps it; strict mode has thrown by now if it is not what the plan promised.
  static_cast<void>(verdict);
}

}  // namespace cohort::layer
