#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <cohort/export.hpp>
#include <cohort/ids.hpp>

namespace cohort {

/// Why a set of ranks works together. Two groups with the same ranks but another kind are two
/// groups, with lanes and ledger rows of their own.
enum class GroupKind : std::uint8_t {
  world,    ///< all ranks
  tp,       ///< one tensor-parallel block: the ranks of one pipeline stage
  pp,       ///< one rank of each pipeline stage
  attn_tp,  ///< attention tensor parallel: shares the heads of one replica's one sequence chunk
  attn_cp,  ///< attention context parallel: shares the tokens of one replica's sequences
  attn,     ///< attn_tp x attn_cp of one data-parallel replica
  moe_ep,   ///< expert parallel
  moe_tp,   ///< tensor parallel inside an expert
  moe_dp,   ///< replicas of the expert-parallel arrangement
  dcp,      ///< decode context parallel
  host,     ///< ranks of one host (memory domain)
  leaders,  ///< the lowest rank of each host
};

inline constexpr std::size_t kGroupKindCount = 12;

/// The largest world that a layout may describe; a bound on what a typing error can allocate.
inline constexpr std::uint32_t kWorldSizeMax = 65536;

/// All kinds, in the order of the enumeration.
COHORT_EXPORT std::span<const GroupKind> all_group_kinds() noexcept;

/// The kind's stable spelling, e.g. "attn_cp".
COHORT_EXPORT std::string_view to_string(GroupKind kind) noexcept;

/// The inverse of `to_string`, or nothing.
COHORT_EXPORT std::optional<GroupKind> group_kind_from_string(std::string_view name) noexcept;

/// Parallel sizes as the user states them; see `Layout` for what follows from them.
struct LayoutSizes {
  std::uint32_t tp = 1;
  std::uint32_t attn_dp = 1;
  std::uint32_t attn_cp = 1;
  std::uint32_t ep = 1;
  std::uint32_t moe_dp = 1;
  std::uint32_t pp = 1;
  std::uint32_t dcp = 1;
  std::uint32_t ranks_per_host = 0;  ///< consecutive world ranks of one host; 0 means all

  friend bool operator==(const LayoutSizes&, const LayoutSizes&) = default;
};

/// Which ranks work together for which purpose: a pure function of the parallel sizes.
///
/// Sizes and rank order follow SGLang: with r the rank within its block of tp ranks,
///   attn_tp = tp / attn_dp / attn_cp, moe_tp = tp / ep / moe_dp, world = tp * pp,
///   attn_tp_rank = r % attn_tp, attn_cp_rank = (r / attn_tp) % attn_cp,
///   attn_dp_rank = r / (attn_tp * attn_cp),
///   moe_tp_rank = r % moe_tp, moe_ep_rank = (r / moe_tp) % ep, moe_dp_rank = r / (moe_tp * ep).
/// A rank that is not of the world is in no group. Local; no I/O. Value type.
class COHORT_EXPORT Layout {
 public:
  /// Throws: Error{usage} naming the two flags whose quotient is not whole, or the zero size, or
  /// the sizes that make more than kWorldSizeMax ranks.
  explicit Layout(const LayoutSizes& sizes);

  /// The sizes given, with `ranks_per_host` resolved: 0 has become the world size.
  const LayoutSizes& sizes() const noexcept { return sizes_; }
  std::uint32_t world_size() const noexcept { return sizes_.tp * sizes_.pp; }
  std::uint32_t attn_tp() const noexcept { return sizes_.tp / sizes_.attn_dp / sizes_.attn_cp; }
  std::uint32_t moe_tp() const noexcept { return sizes_.tp / sizes_.ep / sizes_.moe_dp; }

  std::uint32_t attn_tp_rank(WorldRank rank) const noexcept;
  std::uint32_t attn_cp_rank(WorldRank rank) const noexcept;
  std::uint32_t attn_dp_rank(WorldRank rank) const noexcept;

  /// The pipeline stage that `rank` belongs to, 0 to pp - 1.
  std::uint32_t pipeline_stage(WorldRank rank) const noexcept { return rank.index() / sizes_.tp; }

  /// Whether any group of `kind` holds ranks of two pipeline stages.
  bool crosses_stages(GroupKind kind) const noexcept;

  /// Every group of a kind, each an ordered list of world ranks; the groups of a kind are ordered
  /// by their first rank and, but for `leaders`, cover each rank exactly once.
  std::span<const std::vector<WorldRank>> groups(GroupKind kind) const noexcept;

  /// Index into `groups(kind)` of the group that holds `rank`; nothing for a rank that is no
  /// leader.
  std::optional<std::uint32_t> group_index(GroupKind kind, WorldRank rank) const noexcept;

  /// The ranks of the group of `kind` that holds `rank`; empty for a rank that is no leader.
  std::span<const WorldRank> group_of(GroupKind kind, WorldRank rank) const noexcept;

  /// Ranks in each group of `kind` (all are equally large, `leaders` is one list).
  std::uint32_t group_size(GroupKind kind) const noexcept;

  friend bool operator==(const Layout& a, const Layout& b) { return a.sizes_ == b.sizes_; }

 private:
  LayoutSizes sizes_;
  std::array<std::vector<std::vector<WorldRank>>, kGroupKindCount> groups_;
};

}  // namespace cohort
