#include "collectives/cuda/nccl_calls.hpp"

namespace cohort::cuda {

KernelCall header_step(const KernelCall& call) noexcept {
  KernelCall header = call;
  header.op = Op::barrier;
  header.reduce_op = ReduceOp::sum;
  header.root = 0;
  header.bytes = 0;
  header.counts = nullptr;
  header.input = 0;
  header.output = 0;
  return header;
}

NcclRoute nccl_route(Path wanted, const nccl::PathQuery& query, const nccl::PathAnswer& here,
                     const nccl::PathAnswer& in_arena) noexcept {
  const auto missed = [&](Reason reason, bool by_operands) {
    return NcclRoute{wanted, reason, by_operands};
  };
  if (!nccl::refusal_of_call(query).empty()) return missed(Reason::op_unsupported, false);
  if (here.path == nccl::CallPath::symmetric) return {Path::nccl_symmetric, Reason::ok, false};
  const bool by_operands = in_arena.path == nccl::CallPath::symmetric;
  // Ranks agree on parts, but each has its own addresses.
  if (here.path == nccl::CallPath::refused && nccl::is_misaligned(query)) {
    return missed(Reason::operand_misaligned, by_operands);
  }
  if (wanted == Path::nccl_symmetric) {
    if (by_operands) return missed(Reason::operand_not_in_heap, true);
    const bool never = !nccl::obstacle_of_call(query).empty();
    return missed(never ? Reason::op_unsupported : Reason::nccl_version_refused, false);
  }
  if (here.path == nccl::CallPath::plain) return {Path::nccl_plain, Reason::ok, by_operands};
  return missed(Reason::nccl_version_refused, by_operands);
}

std::vector<NcclPlannedGroup> nccl_groups_of(const Plan& plan) {
  const Layout& layout = plan.layout();
  std::vector<NcclPlannedGroup> groups;
  for (const GroupKind kind : all_group_kinds()) {
    const std::uint32_t bit = 1U << static_cast<unsigned>(kind);
    for (std::uint32_t rank = 0; rank < layout.world_size(); ++rank) {
      const WorldRank first{rank};
      if ((plan.group_mask(layout.pipeline_stage(first)) & bit) == 0) continue;
      const auto instance = layout.group_index(kind, first);
      const auto ranks = layout.group_of(kind, first);
      if (!instance || ranks.size() < 2 || ranks.front() != first) continue;
      for (std::uint32_t lane = 0; lane < plan.options().lanes; ++lane) {
        groups.push_back({kind, *instance, Lane{lane}, {ranks.begin(), ranks.end()}});
      }
    }
  }
  return groups;
}

NcclCalls::NcclCalls(NcclUse use, bool nvlink, std::span<const NcclPlannedGroup> planned)
    : use_(use), nvlink_(nvlink) {
  for (std::size_t i = 0; i < planned.size(); ++i) {
    index_.emplace(Key{planned[i].kind, planned[i].instance, planned[i].lane.index()}, i);
  }
}

std::optional<std::size_t> NcclCalls::find(GroupKind kind, std::uint32_t instance,
                                           Lane lane) const {
  const auto found = index_.find({kind, instance, lane.index()});
  return found == index_.end() ? std::nullopt : std::optional(found->second);
}

NcclRoute NcclCalls::route(std::optional<std::size_t> group, Path wanted,
                           nccl::PathQuery query) const {
  query.nvlink = nvlink_;
  query.reductions_allowed = use_ == NcclUse::reductions;
  if (!group || !groups_) {
    const nccl::PathAnswer none{nccl::CallPath::refused, "there is no communicator of the group"};
    return nccl_route(wanted, query, none, none);
  }
  nccl::PathQuery in_arena = query;
  in_arena.input_in_window = true;
  in_arena.output_in_window = true;
  in_arena.aligned = true;
  return nccl_route(wanted, query, groups_->path(*group, query), groups_->path(*group, in_arena));
}

}  // namespace cohort::cuda
