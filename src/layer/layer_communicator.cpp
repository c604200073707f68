#include <algorithm>
#include <string>
#include <vector>

#include <cohort/error.hpp>
#include <cohort/layer_communicator.hpp>

#include "layer/boundary_moves.hpp"
#include "layer/row_boundary.hpp"

namespace cohort {

namespace {

using layer::Boundary;
using layer::index_of;
using layer::kBoundaries;
using layer::move_of;
using layer::RowBoundary;

std::string name_of(Boundary boundary) {
  return std::string(layer::to_string(boundary));
}

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::usage, why, std::nullopt, "layer");
}

std::size_t row_elements_of(const LayerSpec& spec, Boundary boundary) {
  return boundary == Boundary::kv ? spec.kv_elements : spec.hidden_elements;
}

/// Rows that pass through a boundary at most, and those that `sum` holds.
struct RowsMax {
  std::size_t rows = 0;
  std::size_t sum = 0;
};

RowsMax rows_max_of(const LayerSpec& spec, Boundary boundary) {
  switch (boundary) {
    case Boundary::kv: return {spec.replica_rows_max, 0};
    case Boundary::attention_output: return {spec.attention_rows_max, 0};
    case Boundary::mlp_input: return {spec.batch_rows_max, 0};
    case Boundary::mlp_output: return {spec.batch_rows_max, spec.attention_rows_max};
    case Boundary::last_rows: return {spec.last_rows_max, 0};
  }
  return {};
}

void add_group(std::vector<GroupKind>& groups, GroupKind group) {
  if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
}

/// Groups that the slots of a boundary are used with, in either kind of step.
struct BoundaryGroups {
  std::vector<GroupKind> rows;
  std::vector<GroupKind> sum;
};

void add_groups(BoundaryGroups& groups, const Move& move) {
  std::vector<GroupKind> calls;
  for (const Step& step : move.steps) {
    if (step.group) calls.push_back(*step.group);
  }
  if (calls.empty()) return;
  add_group(groups.rows, calls.front());
  if (calls.size() == 1) return;
  for (const GroupKind group : calls) add_group(groups.sum, group);
}

BoundaryGroups groups_of(const Layout& layout, Boundary boundary) {
  const LayoutSizes& sizes = layout.sizes();
  const std::vector<std::size_t> zeros(std::size_t{sizes.attn_dp} * sizes.attn_cp, 0);
  BoundaryGroups groups;
  add_groups(groups, move_of(layout, boundary,
                             BatchRows::by_replica(layout, std::span(zeros).first(sizes.attn_dp))));
  add_groups(groups, move_of(layout, boundary, BatchRows::by_chunk(layout, zeros)));
  return groups;
}

constexpr const char* kPoolName = "activations";

/// On a GPU rows that nobody moves have slots too, so that all rows are in memory of the device:
/// for a group of one rank, which needs no scratch. There is one wherever a boundary moves nothing.
void add_group_of_one(std::vector<GroupKind>& groups, const Layout& layout) {
  for (const GroupKind kind : {GroupKind::attn_cp, GroupKind::attn_tp}) {
    if (layout.group_size(kind) != 1) continue;
    groups.push_back(kind);
    return;
  }
}

/// Collects what the boundaries ask of the pool.
class PoolPlanner {
 public:
  void add(GroupKind kind, std::size_t rows, std::size_t row_elements, DType dtype) {
    std::size_t bytes = 0;
    if (__builtin_mul_overflow(rows, row_elements, &bytes) ||
        __builtin_mul_overflow(bytes, bytes_of(dtype), &bytes)) {
      refuse("a block of " + std::to_string(rows) + " rows of " + std::to_string(row_elements) +
             " elements is too large");
    }
    largest_ = std::max(largest_, bytes);
    for (PoolGroup& group : groups_) {
      if (group.kind != kind) continue;
      group.block_bytes_max = std::max(group.block_bytes_max, bytes);
      return;
    }
    groups_.push_back({kind, bytes});
  }

  std::optional<PoolId> declare(Plan& plan, const LayerPool& pool) const {
    if (groups_.empty()) return std::nullopt;
    return plan.pool(kPoolName, {groups_, pool.bytes.value_or(largest_), largest_});
  }

 private:
  std::vector<PoolGroup> groups_;
  std::size_t largest_ = 0;
};

}  // namespace

LayerSlots plan_layers(Plan& plan, const LayerSpec& spec) {
  LayerSlots slots{spec, std::nullopt, {}};
  PoolPlanner blocks;
  for (const Boundary boundary : kBoundaries) {
    BoundaryGroups groups = groups_of(plan.layout(), boundary);
    const bool moves = !groups.rows.empty();
    if (!moves && plan.options().memory != Memory::host) {
      add_group_of_one(groups.rows, plan.layout());
    }
    const RowsMax rows_max = rows_max_of(spec, boundary);
    SlotSpec slot{groups.rows, spec.dtype, rows_max.rows, row_elements_of(spec, boundary),
                  spec.depth};
    const std::string name = name_of(boundary);
    LayerSlots::Boundary& planned = slots.boundaries[index_of(boundary)];
    // A block is of one group.
    if (spec.pool && moves && groups.rows.size() == 1) {
      planned.blocks = groups.rows.front();
      blocks.add(*planned.blocks, slot.rows_max, slot.row_elements, slot.dtype);
    } else if (!groups.rows.empty()) {
      planned.rows = plan.slot(name, slot);
    }
    if (groups.sum.empty()) continue;
    slot.groups = groups.sum;
    slot.rows_max = rows_max.sum;
    planned.sum = plan.slot(name + "_sum", slot);
  }
  if (spec.pool) slots.pool = blocks.declare(plan, *spec.pool);
  return slots;
}

class LayerCommunicator::State {
 public:
  State(Session& session, const LayerSlots& slots, WorldRank rank)
      : layout_(&session.plan().layout()),
        spec_(slots.spec),
        rank_(rank),
        context_{&session, std::nullopt, {}} {
    check_pool(session.plan(), slots.pool);
    for (const Boundary boundary : kBoundaries) {
      check_slot(session.plan(), slots.boundaries[index_of(boundary)].rows, name_of(boundary));
      check_slot(session.plan(), slots.boundaries[index_of(boundary)].sum,
                 name_of(boundary) + "_sum");
      boundaries_.emplace_back(context_, slots.boundaries[index_of(boundary)], spec_.dtype,
                               row_elements_of(spec_, boundary), rows_max_of(spec_, boundary).rows);
    }
  }

  void set_stream(Stream stream) {
    if (context_.session->plan().options().memory == Memory::host) {
      refuse("layers on host memory run in no stream");
    }
    context_.stream = stream;
  }

  void begin_step(const BatchRows& rows, const BatchRows& last_rows) {
    if (rows.attention() != last_rows.attention()) {
      refuse("rows and last rows must both be counted by replica or both by chunk");
    }
    check_maxima(rows);
    check_maximum("last rows", last_rows.total(), spec_.last_rows_max);
    for (const Boundary boundary : kBoundaries) {
      const BatchRows& own = boundary == Boundary::last_rows ? last_rows : rows;
      boundaries_[index_of(boundary)].set(*layout_, move_of(*layout_, boundary, own), own, rank_);
    }
  }

  RowBoundary& at(Boundary boundary) { return boundaries_[index_of(boundary)]; }

 private:
  static void check_slot(const Plan& plan, std::optional<SlotId> slot, const std::string& name) {
    if (!slot) return;
    if (slot->index() < plan.slots().size() && plan.slot(*slot).name == name) return;
    refuse("slot '" + name + "' of the layers is not in the session's plan");
  }

  static void check_pool(const Plan& plan, std::optional<PoolId> pool) {
    if (!pool) return;
    if (pool->index() < plan.pools().size() && plan.pool(*pool).name == kPoolName) return;
    refuse(std::string("pool '") + kPoolName + "' of the layers is not in the session's plan");
  }

  static void check_maximum(const std::string& what, std::size_t count, std::size_t count_max) {
    if (count <= count_max) return;
    refuse(std::to_string(count) + " " + what + " in a step planned for " +
           std::to_string(count_max));
  }

  /// All ranks look at all ranks' rows, so all of them refuse a step that one of them cannot take.
  void check_maxima(const BatchRows& rows) const {
    check_maximum("rows", rows.total(), spec_.batch_rows_max);
    const Placement replica{{TokenAxis::attn_dp}, std::nullopt};
    for (std::uint32_t r = 0; r < layout_->sizes().tp; ++r) {
      const WorldRank rank{r};
      check_maximum("rows of one replica", rows.range(*layout_, replica, rank).count,
                    spec_.replica_rows_max);
      check_maximum("attention rows of one rank",
                    rows.range(*layout_, rows.attention(), rank).count, spec_.attention_rows_max);
    }
  }

  const Layout* layout_;
  LayerSpec spec_;
  WorldRank rank_;
  layer::BoundaryContext context_;
  std::vector<RowBoundary> boundaries_;
};

LayerCommunicator::LayerCommunicator(Session& session, const LayerSlots& slots, WorldRank rank)
    : state_(std::make_unique<State>(session, slots, rank)) {}
LayerCommunicator::LayerCommunicator(LayerCommunicator&&) noexcept = default;
LayerCommunicator& LayerCommunicator::operator=(LayerCommunicator&&) noexcept = default;
LayerCommunicator::~LayerCommunicator() = default;

void LayerCommunicator::on(Stream stream) {
  state_->set_stream(stream);
}

void LayerCommunicator::begin_step(const BatchRows& rows, const BatchRows& last_rows) {
  state_->begin_step(rows, last_rows);
}

Tensor LayerCommunicator::kv_rows() {
  return state_->at(Boundary::kv).input();
}
ConstTensor LayerCommunicator::gather_kv_rows() {
  return state_->at(Boundary::kv).complete();
}

Tensor LayerCommunicator::attention_output() {
  return state_->at(Boundary::attention_output).input();
}
ConstTensor LayerCommunicator::complete_attention_output() {
  return state_->at(Boundary::attention_output).complete();
}
void LayerCommunicator::complete_attention_output(const RmsNorm& norm) {
  state_->at(Boundary::attention_output).complete(norm);
}

Tensor LayerCommunicator::mlp_input() {
  return state_->at(Boundary::mlp_input).input();
}
ConstTensor LayerCommunicator::gather_mlp_input() {
  return state_->at(Boundary::mlp_input).complete();
}

Tensor LayerCommunicator::mlp_output() {
  return state_->at(Boundary::mlp_output).input();
}
ConstTensor LayerCommunicator::complete_mlp_output() {
  return state_->at(Boundary::mlp_output).complete();
}
void LayerCommunicator::complete_mlp_output(const RmsNorm& norm) {
  state_->at(Boundary::mlp_output).complete(norm);
}

Tensor LayerCommunicator::last_rows() {
  return state_->at(Boundary::last_rows).input();
}
ConstTensor LayerCommunicator::gather_last_rows() {
  return state_->at(Boundary::last_rows).complete();
}

}  // namespace cohort
