// A captured call is replayed into a buffer that was given to somebody else meanwhile.

#include <array>
#include <functional>

#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

constexpr int kReplays = 3;
constexpr float kCached = 0.5F;  // what lies in rows that the graph has nothing to do with

Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const auto memory = naive::memory_of_ranks(region, setting.ranks, 4 * kElements);
  naive::Group tp = naive::group_of(layout_of(setting), GroupKind::tp, 0, region);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    naive::Pool pool(memory[rank.index()]);
    tp.register_window(rank, pool.memory(), "registering");
    const auto input = pool.allocate(kElements);
    std::fill(input.begin(), input.end(), naive::contribution(rank.index()));
    const auto output = pool.allocate(kElements);
    // A graph keeps addresses; the tensor behind them is the program's, which is done with it.
    const std::function<void()> graph = [&, to = output.data()] {
      tp.all_reduce(rank, input, to, "all_reduce");
    };
    graph();
    pool.release(output);

    const auto cache = pool.allocate(kElements);
    std::fill(cache.begin(), cache.end(), kCached);
    graph();
    rank.expect("the cached rows", cache, kCached);
  });
  return judge_naive(ends);
}

/// Takes and allocates what there is, fills it, and sees to it that it is not what is leased.
class Churn {
 public:
  Churn(Session& session, SlotId slot, const Buffer& leased, Rank& rank)
      : scope_(session.scope(GroupKind::tp)) {
    for (int i = 0; i < 4; ++i) {
      keep(session.take(slot), leased, rank);
      keep(scope_.allocate(DType::f32, kElements, 1), leased, rank);
    }
  }

  std::size_t size() const noexcept { return handed_out_.size(); }
  void expect_unchanged(Rank& rank) const {
    for (const Buffer& rows : handed_out_) rank.expect("other rows", floats(rows), kCached);
  }

 private:
  void keep(const Buffer& rows, const Buffer& leased, Rank& rank) {
    if (rows.data() == leased.data()) rank.wrong("leased rows were handed out");
    std::fill_n(rows.as<float>(), floats(rows).size(), kCached);
    handed_out_.push_back(rows);
  }

  Scope scope_;
  std::vector<Buffer> handed_out_;
};

Observation our_way(const Setting& setting) {
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    SlotSpec spec = rows_for({GroupKind::tp});
    const SlotId step_rows = plan.slot("step_rows", spec);
    spec.leases = 1;
    const SlotId slot = plan.slot("graph_rows", spec);
    static_cast<void>(plan.pool(
        "activations",
        {.groups = {GroupKind::tp}, .bytes = 16 * kElements, .block_bytes_max = 4 * kElements}));
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    Lease lease = session.lease(slot);
    const Buffer captured = lease.buffer();  // all that a graph keeps
    float step = 0;
    const auto graph = [&] {
      const Buffer input = session.take(step_rows);
      fill(input, rank.index(), ++step);
      static_cast<void>(
          tp.all_reduce(input.elements(kElements), captured.elements(kElements), ReduceOp::sum));
      rank.expect("a replayed sum", floats(captured), wanted_sum(tp, step));
    };
    graph();
    const Churn churn(session, slot, captured, rank);
    for (int i = 0; i < kReplays; ++i) graph();
    churn.expect_unchanged(rank);
    const std::string refused = refusal(rank, [&] { static_cast<void>(session.lease(slot)); });
    lease.drop();
    const bool again = session.lease(slot).buffer().data() == captured.data();
    if (!again) rank.wrong("an entry whose lease was dropped is not leased again");
    session.close();
    rank.say(std::to_string(kReplays) + " replays right, " + std::to_string(churn.size()) +
             " buffers handed out meanwhile unchanged; leasing it twice is refused" +
             (rank.index() == 0 ? ": " + refused : ""));
  });
  return judge_right(ends);
}

}  // namespace

Fault captured_buffer() {
  return {.name = "captured-buffer",
          .what = "a captured buffer is reused while its graph is still replayed",
          .engines =
              "a graph keeps addresses; once the program drops the tensor, its pool hands the same "
              "bytes to the next one that asks",
          .why =
              "What a graph uses is leased from entries planned for that, and nobody else is given "
              "them until every rank has dropped its lease.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
