#include "layer/boundary_moves.hpp"

namespace cohort::layer {

namespace {

Placement owing(Placement placement, GroupKind group) {
  placement.owes_sum = group;
  return placement;
}

}  // namespace

std::string_view to_string(Boundary boundary) noexcept {
  switch (boundary) {
    case Boundary::kv: return "kv_rows";
    case Boundary::attention_output: return "attention_output";
    case Boundary::mlp_input: return "mlp_input";
    case Boundary::mlp_output: return "mlp_output";
    case Boundary::last_rows: return "last_rows";
  }
  return "unknown";
}

Move move_of(const Layout& layout, Boundary boundary, const BatchRows& rows) {
  const Placement attention = rows.attention();
  const Placement everywhere;
  switch (boundary) {
    case Boundary::kv:
      if (attention.sharded_over.contains(TokenAxis::attn_cp)) {
        return plan_context_gather(layout, rows);
      }
      return {attention, attention, {}};
    case Boundary::attention_output:
      return plan_move(layout, owing(attention, GroupKind::attn_tp), attention, rows);
    case Boundary::mlp_output:
      return plan_move(layout, owing(everywhere, GroupKind::tp), attention, rows);
    case Boundary::mlp_input:
    case Boundary::last_rows: break;
  }
  return plan_move(layout, attention, everywhere, rows);
}

}  // namespace cohort::layer
