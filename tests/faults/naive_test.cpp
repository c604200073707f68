// The naive way is right as long as nobody makes a mistake: what fails later fails for its reason.

#include "faults/naive.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "faults/fault.hpp"

namespace cohort::faults::naive {
namespace {

constexpr std::uint32_t kRanks = 4;
constexpr Watchdog kPatient{.idle = std::chrono::seconds(60), .total = std::chrono::seconds(60)};

TEST(Naive, CallsOfEqualProgramsAreRight) {
  SharedRegion region;
  const Layout layout({.tp = kRanks, .attn_cp = 2});
  const auto memory = memory_of_ranks(region, kRanks, 1'000);
  Group tp = group_of(layout, GroupKind::tp, 0, region);
  std::vector<Group> halves = groups_of(layout, GroupKind::attn_cp, region);
  const auto ends = run_ranks(kRanks, kPatient, [&](Rank& rank) {
    Group& attn_cp =
        halves[layout.group_index(GroupKind::attn_cp, WorldRank{rank.index()}).value()];
    Pool pool(memory[rank.index()]);
    tp.register_window(rank, pool.memory(), "registering");
    attn_cp.register_window(rank, pool.memory(), "registering");
    const auto rows = pool.allocate(300);
    std::vector<float> sum(300);
    for (int call = 1; call < 20; ++call) {
      const auto scale = static_cast<float>(call);
      std::fill(rows.begin(), rows.end(), contribution(rank.index(), scale));
      Group& group = call % 3 == 0 ? attn_cp : tp;
      group.all_reduce(rank, rows, sum.data(), "all_reduce");
      rank.expect("the sum", sum, group.wanted_sum(scale));
    }
    std::vector<float> all(kRanks * 300);
    const std::vector<std::size_t> counts = {300, 0, 7, 300};
    tp.all_gather(rank, rows.first(counts[rank.index()]), counts, all.data(), true, "all_gather");
    rank.expect("the end", std::span(all).subspan(606, 1), contribution(3, 19));
  });
  const Observation seen = judge_naive(ends);
  EXPECT_EQ(seen.outcome, Outcome::right) << seen.text;
}

TEST(Naive, PoolHandsOutWhatWasFreedLast) {
  std::vector<float> memory(100);
  Pool pool(memory);
  const auto first = pool.allocate(40);
  const auto second = pool.allocate(40);
  EXPECT_TRUE(pool.allocate(40).empty());
  pool.release(first);
  pool.release(second);
  EXPECT_EQ(pool.allocate(30).data(), second.data());
  EXPECT_EQ(pool.allocate(40).data(), first.data());
}

}  // namespace
}  // namespace cohort::faults::naive
