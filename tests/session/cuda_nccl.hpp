#pragma once

// What tests of sessions that send calls to NCCL share, over fakes of GPUs and of NCCL. Ranks are
// threads: the fake knows no others.

#include <cstdint>
#include <functional>
#include <vector>

#include <cohort/cohort.hpp>

#include "session/cuda_ranks.hpp"
#include "support/fake_nccl.hpp"

namespace cohort::test {

/// Options that pin one path.
inline PlanOptions nccl_options(Path pin, NcclUse use = NcclUse::reductions, bool strict = false) {
  PlanOptions options;
  options.strict = strict;
  options.path_table = PathTable::pinned(pin);
  options.memory = Memory::cuda;
  options.nccl = use;
  return options;
}

/// A slot of tp.
inline Plan nccl_plan(const PlanOptions& options, std::uint32_t tp = 2) {
  Plan plan(Layout{{.tp = tp}}, options);
  static_cast<void>(plan.slot(
      "x", {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 1, .depth = 2}));
  return plan;
}

using RankFaults = std::function<FakeNcclFaults(WorldRank)>;

inline RankFaults on_rank_1(const FakeNcclFaults& faults) {
  return [faults](WorldRank rank) { return rank == WorldRank{1} ? faults : FakeNcclFaults{}; };
}

inline RankFaults on_all(const FakeNcclFaults& faults) {
  return [faults](WorldRank) { return faults; };
}

/// Runs ranks over the fakes, each with an NCCL that does wrong what it is told to.
inline std::vector<RankResult> run_over_nccl(std::uint32_t ranks, const RankBody& body,
                                             const RankFaults& faults = {}) {
  set_device_api(&fake_cuda_api(), &fake_nccl());
  reset_fake_nccl();
  return run_ranks(RankMode::threads, ranks, [&](World& world) {
    set_fake_nccl_faults(faults ? faults(world.rank()) : FakeNcclFaults{});
    return body(world);
  });
}

inline constexpr Verdict kNcclSymmetric{Path::nccl_symmetric, Reason::ok, 0};
inline constexpr Verdict kNcclPlain{Path::nccl_plain, Reason::ok, 0};

}  // namespace cohort::test
