#pragma once

#include <cstdint>
#include <vector>

#include <cohort/layer.hpp>
#include <cohort/layout.hpp>

namespace cohort::test {

/// Every attention layout of at most `tp_max` ranks.
inline std::vector<Layout> attention_layouts(std::uint32_t tp_max) {
  std::vector<Layout> layouts;
  for (std::uint32_t tp = 1; tp <= tp_max; ++tp) {
    for (std::uint32_t dp = 1; dp <= tp; ++dp) {
      for (std::uint32_t cp = 1; dp * cp <= tp; ++cp) {
        if (tp % (dp * cp) == 0)
          layouts.emplace_back(LayoutSizes{.tp = tp, .attn_dp = dp, .attn_cp = cp});
      }
    }
  }
  return layouts;
}

inline std::string name_of(const Layout& layout) {
  return "attn_dp " + std::to_string(layout.sizes().attn_dp) + " attn_cp " +
         std::to_string(layout.sizes().attn_cp) + " attn_tp " + std::to_string(layout.attn_tp());
}

inline constexpr Placement kEverywhere{};
inline constexpr Placement kReplica{{TokenAxis::attn_dp}, {}};
inline constexpr Placement kChunk{{TokenAxis::attn_dp, TokenAxis::attn_cp}, {}};
inline constexpr Placement kSlice{{TokenAxis::attn_dp, TokenAxis::attn_cp, TokenAxis::attn_tp}, {}};

constexpr Placement owing(Placement placement, GroupKind group) {
  placement.owes_sum = group;
  return placement;
}

/// A batch with as many rows everywhere.
inline BatchRows even_rows(const Layout& layout, std::size_t rows_per_replica) {
  return BatchRows::by_replica(layout,
                               std::vector<std::size_t>(layout.sizes().attn_dp, rows_per_replica));
}

}  // namespace cohort::test
