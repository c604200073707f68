// A block is freed under one group and handed to another.

#include <map>

#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const Layout layout = layout_of(setting);
  const auto memory = naive::memory_of_ranks(region, setting.ranks, 4 * kElements);
  naive::Group tp = naive::group_of(layout, GroupKind::tp, 0, region);
  std::vector<naive::Group> halves = naive::groups_of(layout, GroupKind::attn_cp, region);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    naive::Pool pool(memory[rank.index()]);
    // Registering is slow, so what was registered once is remembered: by its address.
    std::map<const float*, const naive::Window*> registered;
    const auto reduce_block = [&](naive::Group& group, const std::string& what) {
      const auto block = pool.allocate(kElements);
      auto& window = registered[block.data()];
      if (window == nullptr) window = &group.register_window(rank, block, "registering");
      std::fill(block.begin(), block.end(), naive::contribution(rank.index()));
      std::vector<float> sum(kElements);
      group.all_reduce_in(rank, *window, block, sum.data(), "all_reduce");
      rank.expect(what, sum, group.wanted_sum());
      pool.release(block);
    };
    reduce_block(tp, "the sum over tp");
    reduce_block(halves[layout.group_index(GroupKind::attn_cp, WorldRank{rank.index()}).value()],
                 "the sum over attn_cp");
  });
  return judge_naive(ends);
}

Observation our_way(const Setting& setting) {
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    static_cast<void>(plan.pool("activations", {.groups = {GroupKind::tp, GroupKind::attn_cp},
                                                .bytes = 4 * kElements,
                                                .block_bytes_max = 4 * kElements}));
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    const Group attn_cp = session.group(GroupKind::attn_cp);
    Buffer freed;
    {
      Scope scope = session.scope(GroupKind::tp);
      freed = scope.allocate(DType::f32, kElements, 1);
      static_cast<void>(reduce(rank, tp, freed, "the sum over tp"));
    }
    Scope scope = session.scope(GroupKind::attn_cp);
    const Buffer block = scope.allocate(DType::f32, kElements, 1);
    if (block.data() != freed.data()) rank.wrong("other bytes were handed out");
    const Verdict verdict = reduce(rank, attn_cp, block, "the sum over attn_cp");
    if (verdict != Verdict{Path::host_direct}) rank.wrong("a slow path: " + describe(verdict));
    const std::string refused = refusal(
        rank, [&] { static_cast<void>(tp.all_reduce(freed.elements(kElements), ReduceOp::sum)); });
    if (refused.find("allocated for group attn_cp") == std::string::npos) {
      rank.wrong("refused as: " + refused);
    }
    session.verify();
    session.close();
    rank.say("the same bytes on attn_cp: right, " + describe(verdict) +
             "; the old handle on tp is refused: " + refused);
  });
  return judge_right(ends);
}

}  // namespace

Fault block_handed_on() {
  return {.name = "block-handed-on",
          .what = "a block is freed under tp and handed to attn_cp",
          .engines =
              "addresses that were registered once count as registered, whichever group asks, and "
              "members are looked up in the list of the group that came first",
          .why =
              "One arena serves all groups, so bytes move between them for free; whose block it is "
              "now is looked up in every call.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
