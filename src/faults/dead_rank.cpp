// One rank dies.

#include <unistd.h>

#include <csignal>

#include "base/clock.hpp"
#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

constexpr std::uint32_t kVictim = 1;

Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const auto memory = naive::memory_of_ranks(region, setting.ranks, 4 * kElements);
  naive::Group tp = naive::group_of(layout_of(setting), GroupKind::tp, 0, region);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    naive::Pool pool(memory[rank.index()]);
    tp.register_window(rank, pool.memory(), "registering");
    const auto rows = pool.allocate(kElements);
    std::vector<float> sum(kElements);
    for (int call = 0; call < 2; ++call) {
      if (call == 1 && rank.index() == kVictim) ::kill(::getpid(), SIGKILL);
      std::fill(rows.begin(), rows.end(), naive::contribution(rank.index()));
      tp.all_reduce(rank, rows, sum.data(), "all_reduce " + std::to_string(call));
      rank.expect("the sum", sum, tp.wanted_sum());
    }
  });
  return judge_naive(ends);
}

Observation our_way(const Setting& setting) {
  SharedRegion region;
  auto& died_at = region.make<std::atomic<Clock::rep>>(0);
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    const SlotId slot = plan.slot("rows", rows_for({GroupKind::tp}));
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    static_cast<void>(reduce(rank, tp, session.take(slot), "the sum"));
    if (rank.index() == kVictim) {
      died_at.store(Clock::now().time_since_epoch().count());
      ::kill(::getpid(), SIGKILL);
    }
    try {
      static_cast<void>(reduce(rank, tp, session.take(slot), "the sum without a rank"));
    } catch (const Error& error) {
      const auto waited = Clock::now().time_since_epoch() - Clock::duration(died_at.load());
      rank.say(
          std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(waited).count()));
      throw;
    }
  });
  Observation seen =
      judge_ended(ends, ErrorCode::peer_failed,
                  std::array<std::string, 1>{"rank " + std::to_string(kVictim)}, kVictim);
  int slowest_ms = 0;
  for (const RankEnd& end : ends) {
    if (!end.said.empty()) slowest_ms = std::max(slowest_ms, std::stoi(end.said));
  }
  if (seen.as_said) {
    seen.text = "within " + std::to_string(slowest_ms) + " ms of its death, " + seen.text;
  }
  return seen;
}

}  // namespace

Fault dead_rank() {
  return {.name = "dead-rank",
          .what = "one rank dies",
          .engines = "peers wait for a flag that nobody will set",
          .why =
              "Each process watches its peers, and one death ends every wait of every rank with "
              "the same error.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
