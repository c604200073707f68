#pragma once

// Calls on NCCL: which of a session's communicators a channel has, and which path a call takes that
// the table sends there. The latter is pure, of what all members know and of whether this rank's
// operands lie in the arena, which the header step compares.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <cohort/layout.hpp>
#include <cohort/plan.hpp>
#include <cohort/verdict.hpp>

#include "backend/cuda/nccl/nccl_groups.hpp"

namespace cohort::cuda {

constexpr bool is_on_nccl(Path path) noexcept {
  return path == Path::nccl_symmetric || path == Path::nccl_plain;
}

/// What goes before NCCL's part of a call: a kernel that compares hashes with all members and moves
/// nothing, with the tally of the call.
KernelCall header_step(const KernelCall& call) noexcept;

/// What became of a call that was to go to NCCL.
struct NcclRoute {
  Path path = Path::nccl_plain;
  Reason reason = Reason::ok;  ///< anything else: it goes on an own path
  bool by_operands = false;    ///< with operands in the arena it would be another answer
};

/// `wanted` is `nccl_symmetric` or `nccl_plain`. `here` and `in_arena` are NCCL's answers for the
/// operands as they lie and for such in the arena.
NcclRoute nccl_route(Path wanted, const nccl::PathQuery& query, const nccl::PathAnswer& here,
                     const nccl::PathAnswer& in_arena) noexcept;

/// Groups of two ranks or more that the plan names in the stages of their members, each once for
/// every lane: the same list on all ranks. Calls of different lanes and groups may be under way at
/// once, in any order, so none of them share a communicator.
struct NcclPlannedGroup {
  GroupKind kind = GroupKind::world;
  std::uint32_t instance = 0;
  Lane lane;
  std::vector<WorldRank> ranks;
};
std::vector<NcclPlannedGroup> nccl_groups_of(const Plan& plan);

/// What the communicators of a session are for. Thread safety: one thread.
class NcclCalls {
 public:
  NcclCalls(NcclUse use, bool nvlink, std::span<const NcclPlannedGroup> planned);

  void set(std::unique_ptr<NcclGroups> groups) { groups_ = std::move(groups); }
  NcclGroups* groups() const noexcept { return groups_.get(); }

  /// Of the group instance's communicator; nothing for groups of one rank, and for groups that a
  /// later plan added: communicators are made at commit.
  std::optional<std::size_t> find(GroupKind kind, std::uint32_t instance, Lane lane) const;
  /// `query` without what this object knows. `in_window` are set for operands in the arena.
  NcclRoute route(std::optional<std::size_t> group, Path wanted, nccl::PathQuery query) const;

 private:
  using Key = std::tuple<GroupKind, std::uint32_t, std::uint32_t>;
  NcclUse use_;
  bool nvlink_;
  std::map<Key, std::size_t> index_;
  std::unique_ptr<NcclGroups> groups_;
};

}  // namespace cohort::cuda
