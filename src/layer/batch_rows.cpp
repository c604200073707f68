#include <string>

#include <cohort/error.hpp>
#include <cohort/layer.hpp>

#include "layer/axis_chain.hpp"

namespace cohort {

namespace {

/// Part `index` of `count` rows dealt out to `parts` ranks, none more than one larger than another.
std::size_t even_part(std::size_t count, std::size_t parts, std::size_t index) noexcept {
  return count / parts + (index < count % parts ? 1 : 0);
}

void require_counts(std::size_t given, std::size_t wanted, const std::string& what) {
  if (given == wanted) return;
  throw Error(ErrorCode::usage,
              std::to_string(given) + " row counts given; the layout needs one for each of " +
                  std::to_string(wanted) + " " + what,
              std::nullopt, "plan_move");
}

}  // namespace

BatchRows BatchRows::by_replica(const Layout& layout, std::span<const std::size_t> counts) {
  const LayoutSizes& sizes = layout.sizes();
  require_counts(counts.size(), sizes.attn_dp, "replicas (--attn-dp)");
  std::vector<std::size_t> chunks;
  for (const std::size_t count : counts) {
    for (std::uint32_t i = 0; i < sizes.attn_cp; ++i) {
      chunks.push_back(even_part(count, sizes.attn_cp, i));
    }
  }
  return {layout, chunks, {{TokenAxis::attn_dp}, std::nullopt}};
}

BatchRows BatchRows::by_chunk(const Layout& layout, std::span<const std::size_t> counts) {
  const LayoutSizes& sizes = layout.sizes();
  require_counts(counts.size(), std::size_t{sizes.attn_dp} * sizes.attn_cp,
                 "chunks (--attn-dp x --attn-cp)");
  return {layout, counts, {{TokenAxis::attn_dp, TokenAxis::attn_cp}, std::nullopt}};
}

BatchRows::BatchRows(const Layout& layout, std::span<const std::size_t> chunk_counts,
                     const Placement& attention)
    : attn_dp_(layout.sizes().attn_dp),
      attn_cp_(layout.sizes().attn_cp),
      attention_(attention),
      starts_{0} {
  for (const std::size_t count : chunk_counts) {
    for (std::uint32_t i = 0; i < layout.attn_tp(); ++i) {
      starts_.push_back(starts_.back() + even_part(count, layout.attn_tp(), i));
    }
  }
}

bool BatchRows::fits(const Layout& layout) const noexcept {
  return starts_.size() == std::size_t{layout.sizes().tp} + 1 &&
         attn_dp_ == layout.sizes().attn_dp && attn_cp_ == layout.sizes().attn_cp;
}

RowRange BatchRows::range(const Layout& layout, const Placement& placement, WorldRank rank) const {
  if (!fits(layout)) {
    throw Error(ErrorCode::usage, "the rows were counted for a layout of other sizes", std::nullopt,
                "plan_move");
  }
  const std::size_t tp = starts_.size() - 1;
  std::size_t ranks_sharing = 1;
  const auto level = layer::level_of(layout, placement.sharded_over);
  if (!level) {
    throw Error(ErrorCode::unsupported, layer::describe_gap(placement.sharded_over), std::nullopt,
                "plan_move");
  }
  switch (*level) {
    case layer::Level::all: ranks_sharing = tp; break;
    case layer::Level::replica: ranks_sharing = tp / attn_dp_; break;
    case layer::Level::chunk: ranks_sharing = tp / attn_dp_ / attn_cp_; break;
    case layer::Level::slice: break;
  }
  const std::size_t first_rank = rank.index() % tp / ranks_sharing * ranks_sharing;
  const std::size_t first = starts_[first_rank];
  return {first, starts_[first_rank + ranks_sharing] - first};
}

}  // namespace cohort
