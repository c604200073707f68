#include <cohort/placement.hpp>

#include "layer/axis_chain.hpp"

namespace cohort {

namespace {

constexpr GroupKind kTokenGroups[] = {GroupKind::attn_tp, GroupKind::attn_cp, GroupKind::attn,
                                      GroupKind::tp};

/// The first of the token groups with the same ranks, nothing for groups of one rank.
std::optional<GroupKind> normalized_sum(const Layout& layout, std::optional<GroupKind> sum) {
  if (!sum || layout.group_size(*sum) == 1) return std::nullopt;
  const auto span = layer::span_of(layout, *sum);
  for (const GroupKind kind : kTokenGroups) {
    // Equal ends of the chain are equal rank lists.
    if (span && *span == *layer::span_of(layout, kind)) return kind;
  }
  return sum;
}

}  // namespace

Placement normalized(const Layout& layout, const Placement& placement) {
  return {layer::effective(layout, placement.sharded_over),
          normalized_sum(layout, placement.owes_sum)};
}

std::string to_string(const Placement& placement) {
  std::string text = "{";
  const auto add = [&](TokenAxis axis, const char* name) {
    if (!placement.sharded_over.contains(axis)) return;
    if (text.size() > 1) text += ", ";
    text += name;
  };
  add(TokenAxis::attn_dp, "attn_dp");
  add(TokenAxis::attn_cp, "attn_cp");
  add(TokenAxis::attn_tp, "attn_tp");
  text += "}";
  if (placement.owes_sum) {
    text += " owing a sum over ";
    text += to_string(*placement.owes_sum);
  }
  return text;
}

}  // namespace cohort
