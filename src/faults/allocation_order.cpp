// Ranks allocate the same buffers in different order.

#include <array>

#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

constexpr float kResidual = 0.5F;  // what lies in the other buffer

Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const auto memory = naive::memory_of_ranks(region, setting.ranks, 4 * kElements);
  naive::Group tp = naive::group_of(layout_of(setting), GroupKind::tp, 0, region);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    naive::Pool pool(memory[rank.index()]);
    tp.register_window(rank, pool.memory(), "registering");
    std::array<std::span<float>, 2> blocks;
    // Rank 1 needs its residual first, for a reason of its own.
    const std::size_t hidden = rank.index() == 1 ? 1 : 0;
    for (auto& block : blocks) block = pool.allocate(kElements);
    std::fill(blocks[hidden].begin(), blocks[hidden].end(), naive::contribution(rank.index()));
    std::fill(blocks[1 - hidden].begin(), blocks[1 - hidden].end(), kResidual);
    std::vector<float> sum(kElements);
    tp.all_reduce(rank, blocks[hidden], sum.data(), "all_reduce");
    rank.expect("the sum", sum, tp.wanted_sum());
  });
  return judge_naive(ends);
}

/// Planned slots do not care; blocks of scopes do, and the next call says so.
Observation our_way(const Setting& setting) {
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    const SlotId hidden = plan.slot("hidden", rows_for({GroupKind::tp}));
    const SlotId residual = plan.slot("residual", rows_for({GroupKind::tp}));
    static_cast<void>(plan.pool(
        "activations",
        {.groups = {GroupKind::tp}, .bytes = 8 * kElements, .block_bytes_max = 4 * kElements}));
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    const bool other_order = rank.index() == 1;
    if (other_order) static_cast<void>(session.take(residual));
    const Buffer planned = session.take(hidden);
    if (!other_order) static_cast<void>(session.take(residual));
    static_cast<void>(reduce(rank, tp, planned, "the sum of planned rows"));

    Scope scope = session.scope(GroupKind::tp);
    std::array<Buffer, 2> blocks;
    for (Buffer& block : blocks) block = scope.allocate(DType::f32, kElements, 1);
    static_cast<void>(reduce(rank, tp, blocks[other_order ? 1 : 0], "the sum of a block"));
    rank.wrong("blocks at other offsets, and no error");
  });
  return judge_ended(ends, ErrorCode::mismatch,
                     std::array<std::string, 2>{"pool 0 block at 0", "pool 0 block at 65536"});
}

}  // namespace

Fault allocation_order() {
  return {.name = "allocation-order",
          .what = "ranks allocate the same buffers in different order",
          .engines =
              "each rank's pool hands out what comes next in its own history, and a call reads its "
              "peers at the offset of its own operand",
          .why =
              "Planned slots lie where the plan says, whatever ranks do first; blocks of scopes "
              "carry their place in every call, and two places that differ end it.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
