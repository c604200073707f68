// Only some ranks have work for a group that is made when it is first used.

#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

/// Whether a rank has rows in this step: those of the first attn_cp group.
bool has_rows(const Layout& layout, const Rank& rank) {
  return layout.group_index(GroupKind::attn_cp, WorldRank{rank.index()}) == 0U;
}

Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const Layout layout = layout_of(setting);
  const auto memory = naive::memory_of_ranks(region, setting.ranks, 4 * kElements);
  naive::Group world = naive::group_of(layout, GroupKind::world, 0, region);
  naive::Group tp = naive::group_of(layout, GroupKind::tp, 0, region);
  naive::Group attn_cp = naive::group_of(layout, GroupKind::attn_cp, 0, region);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    naive::Pool pool(memory[rank.index()]);
    tp.register_window(rank, pool.memory(), "registering");
    const auto rows = pool.allocate(kElements);
    std::fill(rows.begin(), rows.end(), naive::contribution(rank.index()));
    std::vector<float> sum(kElements);
    if (has_rows(layout, rank)) {
      // The first use makes the group, and the ranks meet over what is there: all of them.
      world.barrier(rank, "first use of attn_cp: a rendezvous");
      attn_cp.register_window(rank, pool.memory(), "registering");
      attn_cp.all_reduce(rank, rows, sum.data(), "all_reduce");
      rank.expect("the sum over attn_cp", sum, attn_cp.wanted_sum());
    }
    tp.all_reduce(rank, rows, sum.data(), "all_reduce");
    rank.expect("the sum over tp", sum, tp.wanted_sum());
  });
  return judge_naive(ends);
}

Observation our_way(const Setting& setting) {
  const Layout layout = layout_of(setting);
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout);
    const SlotId slot = plan.slot("rows", rows_for({GroupKind::tp, GroupKind::attn_cp}));
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    const Group attn_cp = session.group(GroupKind::attn_cp);
    // Ranks without rows take an entry too, and leave it.
    const Buffer rows = session.take(slot);
    if (has_rows(layout, rank)) {
      static_cast<void>(reduce(rank, attn_cp, rows, "the first sum over attn_cp"));
    }
    static_cast<void>(reduce(rank, tp, session.take(slot), "the sum over tp"));
    const std::uint64_t registered = session.registrations_since_commit();
    if (registered != 0) rank.wrong(std::to_string(registered) + " registrations since commit");
    session.close();
    rank.say(std::string(has_rows(layout, rank) ? "sums over attn_cp and tp" : "sum over tp") +
             " right, " + std::to_string(registered) + " registrations since commit");
  });
  return judge_right(ends);
}

}  // namespace

Fault lazy_first_use() {
  return {.name = "lazy-first-use",
          .what = "a group is used for the first time, by some ranks only",
          .engines =
              "a group's memory is set up when it is first used, in a rendezvous of all ranks, but "
              "idle ranks have gone on to the next call",
          .why = "commit sets up every group of the plan once; afterwards nothing is lazy.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
