// A pool grows in mid-flight while one rank is late.

#include "base/bytes.hpp"
#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

using std::chrono::milliseconds;

constexpr const char* kWaitForBatch = "waiting for its batch, which rank 0 sends once it has room";

Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const auto memory = naive::memory_of_ranks(region, setting.ranks, kElements);
  const auto more = naive::memory_of_ranks(region, setting.ranks, kElements);
  naive::Group tp = naive::group_of(layout_of(setting), GroupKind::tp, 0, region);
  auto& batch = region.make<std::atomic<bool>>(false);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    naive::Pool pool(memory[rank.index()]);
    tp.register_window(rank, pool.memory(), "registering");
    const auto allocate = [&] {
      auto block = pool.allocate(kElements);
      if (!block.empty()) return block;
      // Peers must learn the new address, so growing is a call of all members.
      pool = naive::Pool(more[rank.index()]);
      tp.register_window(rank, pool.memory(), "registering, hidden in allocate,");
      return pool.allocate(kElements);
    };
    static_cast<void>(allocate());
    const bool late = rank.index() == setting.ranks - 1;
    if (late) rank.wait_for_ever(kWaitForBatch, [&] { return batch.load(); });
    const auto rows = allocate();
    if (rank.index() == 0) batch.store(true);
    std::fill(rows.begin(), rows.end(), naive::contribution(rank.index()));
    std::vector<float> sum(kElements);
    tp.all_reduce(rank, rows, sum.data(), "all_reduce");
    rank.expect("the sum", sum, tp.wanted_sum());
  });
  return judge_naive(ends);
}

/// What the ranks of one replay tell each other outside of cohort.
struct Signals {
  std::atomic<bool> batch{false};
  std::atomic<std::uint32_t> given_up{0};
};

/// More memory than planned, while the last rank waits for rank 0. Returns the verdict in words.
std::string use_unplanned(Session& session, Rank& rank, Signals& signals) {
  Scope scope = session.scope(GroupKind::tp);
  static_cast<void>(scope.allocate(DType::f32, kElements, 1));
  if (rank.index() == rank.count() - 1) {
    rank.wait_for_ever(kWaitForBatch, [&] { return signals.batch.load(); });
  }
  const Buffer rows = scope.allocate(DType::f32, kElements, 1);
  if (rank.index() == 0) signals.batch.store(true);
  const Verdict verdict = reduce(rank, session.group(GroupKind::tp), rows, "the sum over budget");
  if (verdict.reason != Reason::over_budget) rank.wrong("not over budget: " + describe(verdict));
  return describe(verdict);
}

/// Growth on purpose, to which one rank comes late: not on any rank, then on all.
std::string grow(Session& session, Rank& rank, const Plan& next, Signals& signals) {
  const std::uint32_t late = rank.count() - 1;
  const std::uint32_t generation = session.generation();
  std::string refused;
  try {
    if (rank.index() == late) {
      rank.wait_for_ever("being late", [&] { return signals.given_up.load() == late; });
    }
    session.recommit(next, milliseconds(rank.index() == late ? 10'000 : 300));
    rank.wrong("a recommit without one rank");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::timeout) throw;
    if (error.rank() != WorldRank{late}) rank.wrong(error.what());
    refused = error.what();
    ++signals.given_up;
  }
  if (session.generation() != generation) rank.wrong("another plan, though one rank was late");
  session.recommit(next);
  return refused;
}

Observation our_way(const Setting& setting) {
  SharedRegion region;
  Signals& signals = region.make<Signals>();
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    static_cast<void>(plan.pool(
        "activations",
        {.groups = {GroupKind::tp}, .bytes = 4 * kElements, .block_bytes_max = 4 * kElements}));
    Session session = commit(world, plan);
    const std::string over = use_unplanned(session, rank, signals);
    const SlotId more = plan.slot("more_rows", rows_for({GroupKind::tp}));
    const std::string refused = grow(session, rank, plan, signals);
    const Verdict verdict =
        reduce(rank, session.group(GroupKind::tp), session.take(more), "the sum after growth");
    if (verdict != Verdict{Path::host_direct}) rank.wrong("a slow path: " + describe(verdict));
    if (session.registrations_since_commit() != 0) rank.wrong("memory registered in a step");
    session.close();
    rank.say("over budget, nobody waits: right, " + over + ". Growth on purpose, one rank late: " +
             refused + ". Then all together: right, " + describe(verdict));
  });
  return judge_right(ends);
}

}  // namespace

Fault growth_in_flight() {
  return {.name = "growth-in-flight",
          .what = "a pool grows in mid-flight while a rank is late",
          .engines =
              "a pool without room takes another segment and registers it with the group, in a "
              "call of all members that no line of the program shows",
          .why =
              "Nothing grows after commit: what does not fit is staged, and says so; a plan grows "
              "by recommit alone, with a deadline, on all ranks or on none.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
