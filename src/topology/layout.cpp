#include <string>

#include <cohort/error.hpp>
#include <cohort/layout.hpp>

namespace cohort {

namespace {

constexpr std::array<GroupKind, kGroupKindCount> kAllKinds = {
    GroupKind::world,   GroupKind::tp,   GroupKind::pp,     GroupKind::attn_tp,
    GroupKind::attn_cp, GroupKind::attn, GroupKind::moe_ep, GroupKind::moe_tp,
    GroupKind::moe_dp,  GroupKind::dcp,  GroupKind::host,   GroupKind::leaders,
};

constexpr std::size_t index_of(GroupKind kind) noexcept {
  return static_cast<std::size_t>(kind);
}

/// World ranks are numbers in a mixed radix; a group is the ranks that differ in one digit only.
/// The digit has `width` values and `stride` ranks lie between two neighbours.
struct Digit {
  std::uint32_t stride = 1;
  std::uint32_t width = 1;
};

Digit digit_of(const Layout& layout, GroupKind kind) noexcept {
  const LayoutSizes& sizes = layout.sizes();
  switch (kind) {
    case GroupKind::world: return {1, layout.world_size()};
    case GroupKind::tp: return {1, sizes.tp};
    case GroupKind::pp: return {sizes.tp, sizes.pp};
    case GroupKind::attn_tp: return {1, layout.attn_tp()};
    case GroupKind::attn_cp: return {layout.attn_tp(), sizes.attn_cp};
    case GroupKind::attn: return {1, layout.attn_tp() * sizes.attn_cp};
    case GroupKind::moe_ep: return {layout.moe_tp(), sizes.ep};
    case GroupKind::moe_tp: return {1, layout.moe_tp()};
    case GroupKind::moe_dp: return {layout.moe_tp() * sizes.ep, sizes.moe_dp};
    case GroupKind::dcp: return {1, sizes.dcp};
    case GroupKind::host: return {1, sizes.ranks_per_host};
    case GroupKind::leaders:
      return {sizes.ranks_per_host, layout.world_size() / sizes.ranks_per_host};
  }
  return {};
}

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::usage, message, std::nullopt, "layout");
}

struct NamedSize {
  const char* flag;
  std::uint32_t value;
};

std::string spelled(NamedSize size) {
  return std::string(size.flag) + " " + std::to_string(size.value);
}

void require_whole(NamedSize whole, NamedSize part) {
  if (whole.value % part.value != 0) {
    refuse(spelled(whole) + " is not divisible by " + spelled(part));
  }
}

void require_whole(NamedSize whole, NamedSize first, NamedSize second) {
  const std::uint64_t divisor = std::uint64_t{first.value} * second.value;
  if (whole.value % divisor != 0) {
    refuse(spelled(whole) + " is not divisible by " + spelled(first) + " x " + spelled(second));
  }
}

/// Returns `sizes` with every default resolved. Throws: Error{usage}.
LayoutSizes checked(LayoutSizes sizes) {
  const NamedSize tp{"--tp", sizes.tp};
  const NamedSize pp{"--pp", sizes.pp};
  const NamedSize attn_dp{"--attn-dp", sizes.attn_dp};
  const NamedSize attn_cp{"--attn-cp", sizes.attn_cp};
  const NamedSize ep{"--ep", sizes.ep};
  const NamedSize moe_dp{"--moe-dp", sizes.moe_dp};
  const NamedSize dcp{"--dcp", sizes.dcp};
  for (const NamedSize size : {tp, attn_dp, attn_cp, ep, moe_dp, pp, dcp}) {
    if (size.value == 0) {
      refuse(std::string(size.flag) + " must be at least 1, not 0");
    }
  }
  const std::uint64_t world_size = std::uint64_t{sizes.tp} * sizes.pp;
  if (world_size > kWorldSizeMax) {
    refuse(spelled(tp) + " x " + spelled(pp) + " makes " + std::to_string(world_size) +
           " ranks; at most " + std::to_string(kWorldSizeMax) + " are supported");
  }
  require_whole(tp, attn_dp, attn_cp);
  require_whole(tp, ep, moe_dp);
  require_whole(tp, dcp);
  if (sizes.ranks_per_host == 0) {
    sizes.ranks_per_host = static_cast<std::uint32_t>(world_size);
  }
  if (world_size % sizes.ranks_per_host != 0) {
    refuse("the " + std::to_string(world_size) + " ranks of " + spelled(tp) + " x " + spelled(pp) +
           " are not divisible by --ranks-per-host " + std::to_string(sizes.ranks_per_host));
  }
  return sizes;
}

}  // namespace

std::span<const GroupKind> all_group_kinds() noexcept {
  return kAllKinds;
}

std::string_view to_string(GroupKind kind) noexcept {
  switch (kind) {
    case GroupKind::world: return "world";
    case GroupKind::tp: return "tp";
    case GroupKind::pp: return "pp";
    case GroupKind::attn_tp: return "attn_tp";
    case GroupKind::attn_cp: return "attn_cp";
    case GroupKind::attn: return "attn";
    case GroupKind::moe_ep: return "moe_ep";
    case GroupKind::moe_tp: return "moe_tp";
    case GroupKind::moe_dp: return "moe_dp";
    case GroupKind::dcp: return "dcp";
    case GroupKind::host: return "host";
    case GroupKind::leaders: return "leaders";
  }
  return "unknown";
}

std::optional<GroupKind> group_kind_from_string(std::string_view name) noexcept {
  for (const GroupKind kind : kAllKinds) {
    if (to_string(kind) == name) {
      return kind;
    }
  }
  return std::nullopt;
}

Layout::Layout(const LayoutSizes& sizes) : sizes_(checked(sizes)) {
  for (const GroupKind kind : kAllKinds) {
    auto& groups = groups_[index_of(kind)];
    groups.resize(kind == GroupKind::leaders ? 1 : world_size() / group_size(kind));
    for (auto& group : groups) {
      group.reserve(group_size(kind));
    }
    // Ranks are visited in ascending order, so each list is ordered as its digit is.
    for (std::uint32_t rank = 0; rank < world_size(); ++rank) {
      if (const auto index = group_index(kind, WorldRank{rank})) {
        groups[*index].push_back(WorldRank{rank});
      }
    }
  }
}

std::uint32_t Layout::attn_tp_rank(WorldRank rank) const noexcept {
  return rank.index() % sizes_.tp % attn_tp();
}

std::uint32_t Layout::attn_cp_rank(WorldRank rank) const noexcept {
  return rank.index() % sizes_.tp / attn_tp() % sizes_.attn_cp;
}

std::uint32_t Layout::attn_dp_rank(WorldRank rank) const noexcept {
  return rank.index() % sizes_.tp / (attn_tp() * sizes_.attn_cp);
}

bool Layout::crosses_stages(GroupKind kind) const noexcept {
  for (const std::vector<WorldRank>& group : groups(kind)) {
    // Lists ascend, so the first and last rank tell.
    if (pipeline_stage(group.front()) != pipeline_stage(group.back())) return true;
  }
  return false;
}

std::span<const std::vector<WorldRank>> Layout::groups(GroupKind kind) const noexcept {
  return groups_[index_of(kind)];
}

std::optional<std::uint32_t> Layout::group_index(GroupKind kind, WorldRank rank) const noexcept {
  if (rank.index() >= world_size()) {
    return std::nullopt;
  }
  const Digit digit = digit_of(*this, kind);
  // What remains of the rank when its digit is taken out: the lower digits keep their value, the
  // upper ones close the gap. Groups numbered so are in the order of their first ranks.
  const std::uint32_t lower = rank.index() % digit.stride;
  const std::uint32_t upper = rank.index() / (digit.stride * digit.width);
  if (kind == GroupKind::leaders && lower != 0) {
    return std::nullopt;
  }
  return upper * digit.stride + lower;
}

std::span<const WorldRank> Layout::group_of(GroupKind kind, WorldRank rank) const noexcept {
  const auto index = group_index(kind, rank);
  if (!index) {
    return {};
  }
  return groups_[index_of(kind)][*index];
}

std::uint32_t Layout::group_size(GroupKind kind) const noexcept {
  return digit_of(*this, kind).width;
}

}  // namespace cohort
