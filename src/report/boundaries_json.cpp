#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "layer/boundary_moves.hpp"
#include "report/job_document.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;
using layer::Boundary;

// At least so many rows a slice, the smallest part that a rank may hold.
constexpr std::size_t kSliceRows = 2;

std::string_view to_string(StepKind kind) noexcept {
  switch (kind) {
    case StepKind::local_slice: return "local_slice";
    case StepKind::all_reduce: return "all_reduce";
    case StepKind::all_gather: return "all_gather";
    case StepKind::reduce_scatter: return "reduce_scatter";
  }
  return "unknown";
}

Json placement_json(const Layout& layout, const Placement& placement, const BatchRows& rows) {
  Json ranges = Json::array();
  for (std::uint32_t rank = 0; rank < layout.sizes().tp; ++rank) {
    const RowRange range = rows.range(layout, placement, WorldRank{rank});
    ranges.push_back(Json::array({range.first, range.count}));
  }
  const Placement plain = normalized(layout, placement);
  return {{"placement", cohort::to_string(plain)},
          {"owes", plain.owes_sum ? Json(cohort::to_string(*plain.owes_sum)) : Json(nullptr)},
          {"ranges", ranges}};
}

Json boundary_json(const Layout& layout, Boundary boundary, const BatchRows& rows) {
  const Move move = layer::move_of(layout, boundary, rows);
  Json steps = Json::array();
  for (const Step& step : move.steps) {
    steps.push_back({{"kind", to_string(step.kind)},
                     {"group", step.group ? Json(cohort::to_string(*step.group)) : Json(nullptr)},
                     {"after", cohort::to_string(normalized(layout, step.after))}});
  }
  return {{"name", layer::to_string(boundary)},
          {"before", placement_json(layout, move.from, rows)},
          {"steps", steps},
          {"after", placement_json(layout, move.to, rows)}};
}

Json step_json(const Layout& layout, const std::string& title, const BatchRows& rows) {
  Json boundaries = Json::array();
  for (const Boundary boundary : layer::kBoundaries) {
    boundaries.push_back(boundary_json(layout, boundary, rows));
  }
  return {{"title", title}, {"rows", rows.total()}, {"boundaries", boundaries}};
}

}  // namespace

Json boundaries_json(const Layout& layout) {
  const LayoutSizes& sizes = layout.sizes();
  const std::size_t chunk_rows = kSliceRows * layout.attn_tp();
  Json steps = Json::array();
  if (sizes.attn_cp > 1) {
    const std::vector<std::size_t> chunks(std::size_t{sizes.attn_dp} * sizes.attn_cp, chunk_rows);
    steps.push_back(
        step_json(layout, "Prefill, each sequence in chunks", BatchRows::by_chunk(layout, chunks)));
  }
  const std::vector<std::size_t> replicas(sizes.attn_dp, chunk_rows * sizes.attn_cp);
  steps.push_back(step_json(layout,
                            sizes.attn_cp > 1 ? "Decode, each sequence on all ranks of its replica"
                                              : "Prefill and decode",
                            BatchRows::by_replica(layout, replicas)));
  return steps;
}

}  // namespace cohort
