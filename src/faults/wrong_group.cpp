// A buffer from the memory of tp is used in a call of attn_cp.

#include "base/bytes.hpp"
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
    tp.register_window(rank, pool.memory(), "registering");
    const auto rows = pool.allocate(kElements);
    std::vector<float> sum(kElements);
    std::fill(rows.begin(), rows.end(), naive::contribution(rank.index()));
    tp.all_reduce(rank, rows, sum.data(), "all_reduce");
    rank.expect("the sum over tp", sum, tp.wanted_sum());
    const std::uint64_t before = rank.copied_bytes();

    // Which group the rows came from is written nowhere.
    naive::Group& attn_cp =
        halves[layout.group_index(GroupKind::attn_cp, WorldRank{rank.index()}).value()];
    attn_cp.all_reduce(rank, rows, sum.data(), "all_reduce");
    rank.expect("the sum over attn_cp", sum, attn_cp.wanted_sum());
    rank.say("the call on tp copied " + format_bytes(before) + ", the one on attn_cp " +
             format_bytes(rank.copied_bytes() - before) + " of " + format_bytes(rows.size_bytes()));
  });
  return judge_naive(ends);
}

Observation our_way(const Setting& setting) {
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    const SlotId mlp = plan.slot("mlp_rows", rows_for({GroupKind::tp}));
    const SlotId kv = plan.slot("kv_rows", rows_for({GroupKind::attn_cp}));
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    const Group attn_cp = session.group(GroupKind::attn_cp);
    const Buffer rows = session.take(mlp);
    fill(rows, rank.index());
    const std::string refused = refusal(rank, [&] {
      static_cast<void>(attn_cp.all_reduce(rows.elements(kElements), ReduceOp::sum));
    });
    const Verdict on_tp = reduce(rank, tp, rows, "the sum over tp");
    const Verdict on_cp = reduce(rank, attn_cp, session.take(kv), "the sum over attn_cp");
    if (on_tp.reason != Reason::ok || on_cp.reason != Reason::ok) rank.wrong(describe(on_tp));
    if (refused.find("'mlp_rows'") == std::string::npos) rank.wrong("refused as: " + refused);
    session.close();
    if (attn_cp.ranks()[0] != WorldRank{0}) {
      rank.say("refused likewise");
      return;
    }
    rank.say(refused + ". The job lives on: the same rows on tp, " + describe(on_tp));
  });
  return judge_right(ends, Outcome::refused);
}

}  // namespace

Fault wrong_group() {
  return {.name = "wrong-group",
          .what = "a buffer of tp is used on attn_cp",
          .engines =
              "a call looks its operand up in the windows of its own group; not found is legal, "
              "and takes the path for any memory",
          .why =
              "A buffer names its groups in the plan, and a call on any other is refused by all of "
              "its members.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
