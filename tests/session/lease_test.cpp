// Entries held for long, by ranks that run at different speeds.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using namespace std::chrono_literals;

constexpr std::size_t kElements = 6000;
constexpr std::uint32_t kLeases = 3;

Plan make_plan(const Layout& layout, SlotId& slot, const PlanOptions& options = {}) {
  Plan plan(layout, options);
  slot = plan.slot("graph", {.groups = {GroupKind::tp, GroupKind::attn},
                             .dtype = DType::i32,
                             .rows_max = kElements,
                             .row_elements = 1,
                             .depth = 2,
                             .leases = kLeases});
  return plan;
}

void reduce(Session& session, const Buffer& buffer, std::int32_t salt) {
  const Group tp = session.group(GroupKind::tp);
  std::fill_n(buffer.as<std::int32_t>(), kElements,
              salt + static_cast<std::int32_t>(tp.rank().index()));
  const Verdict verdict = tp.all_reduce(buffer.elements(kElements), ReduceOp::sum);
  EXPECT_NE(verdict.reason, Reason::operand_not_in_heap);
  const auto size = static_cast<std::int32_t>(tp.size());
  const std::int32_t wanted = salt * size + size * (size - 1) / 2;
  EXPECT_EQ(std::count(buffer.as<std::int32_t>(), buffer.as<std::int32_t>() + kElements, wanted),
            static_cast<std::ptrdiff_t>(kElements));
}

/// Each rank drops its leases when it likes, at the latest when it needs one itself. What a lease
/// holds stays as it is until then, whatever `take` and other leases do.
std::string hold_and_drop(World& world, const Layout& layout, const PlanOptions& options) {
  struct Held {
    Lease lease;
    std::int32_t content;
  };
  SlotId slot;
  Session session = commit(world, make_plan(layout, slot, options));
  std::mt19937 own(world.rank().index() + 1);
  std::deque<Held> held;
  const auto drop_oldest = [&] {
    const std::int32_t* const data = held.front().lease.buffer().as<std::int32_t>();
    EXPECT_EQ(std::count(data, data + kElements, held.front().content),
              static_cast<std::ptrdiff_t>(kElements));
    held.pop_front();
  };
  for (std::int32_t turn = 0; turn < 60; ++turn) {
    if (own() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(own() % 500));
    while (held.size() == kLeases || (!held.empty() && own() % 2 == 0)) drop_oldest();
    Lease lease = session.lease(slot);
    EXPECT_EQ(lease.buffer().entry(), 2 + static_cast<std::uint32_t>(turn) % kLeases);
    reduce(session, lease.buffer(), turn);
    const Buffer taken = session.take(slot);
    EXPECT_EQ(taken.entry(), static_cast<std::uint32_t>(turn) % 2);
    reduce(session, taken, 1000 + turn);
    const std::int32_t content = lease.buffer().as<std::int32_t>()[0];
    held.push_back({std::move(lease), content});
    EXPECT_FALSE(lease.held()) << "moved from";  // NOLINT(bugprone-use-after-move)
  }
  while (!held.empty()) drop_oldest();
  EXPECT_EQ(session.registrations_since_commit(), 0U);
  EXPECT_EQ(session.measured_bytes(), session.footprint().planned_bytes(world.rank()));
  session.close();
  return "done";
}

using Setting = std::tuple<RankMode, std::uint32_t, Symmetry>;
class Leases : public testing::TestWithParam<Setting> {};

TEST_P(Leases, AreHeldAsLongAsEachRankLikes) {
  const auto [mode, ranks, symmetry] = GetParam();
  const Layout layout({.tp = ranks});
  const PlanOptions options{.symmetry = symmetry};
  test::expect_no_errors(test::run_ranks(
      mode, ranks, [&](World& world) { return hold_and_drop(world, layout, options); }));
}

INSTANTIATE_TEST_SUITE_P(Ranks, Leases,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Values(1U, 2U, 4U),
                                          testing::Values(Symmetry::on, Symmetry::off)),
                         [](const testing::TestParamInfo<Setting>& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  std::to_string(std::get<1>(param.param)) +
                                  (std::get<2>(param.param) == Symmetry::on ? "_on" : "_off");
                         });

// Nobody gets an entry while another rank is still in its use before; seen from outside.
TEST(Lease, WaitsForTheSlowestRank) {
  constexpr std::uint32_t kRanks = 3;
  std::atomic<std::uint32_t> using_entry[kRanks][kLeases] = {};  // the use, or 0
  const Layout layout({.tp = kRanks});
  test::expect_no_errors(test::run_ranks(RankMode::threads, kRanks, [&](World& world) {
    SlotId slot;
    Session session = commit(world, make_plan(layout, slot));
    auto& mine = using_entry[world.rank().index()];
    std::mt19937 own(world.rank().index());
    std::deque<Lease> held;
    for (std::uint32_t turn = 0; turn < 300; ++turn) {
      while (held.size() == kLeases || (!held.empty() && own() % 3 == 0)) {
        mine[held.front().buffer().entry() - 2].store(0);
        held.pop_front();
      }
      held.push_back(session.lease(slot));
      const std::uint32_t index = held.back().buffer().entry() - 2;
      const std::uint32_t use = turn / kLeases + 1;
      for (const auto& rank : using_entry) {
        const std::uint32_t seen = rank[index].load();
        EXPECT_TRUE(seen == 0 || seen >= use) << "use " << seen << " while use " << use << " began";
      }
      mine[index].store(use);
      if (own() % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(own() % 300));
    }
    held.clear();
    session.close();
    return std::string();
  }));
}

TEST(Lease, OfAnEntryThatThisRankHoldsIsRefusedAtOnce) {
  const Layout layout({.tp = 2});
  test::expect_no_errors(test::run_ranks(RankMode::threads, 2, [&](World& world) {
    SlotId slot;
    Plan plan = make_plan(layout, slot);
    const SlotId plain =
        plan.slot("plain", {.groups = {GroupKind::tp}, .rows_max = 1, .row_elements = 1});
    Session session = commit(world, plan);
    EXPECT_THROW(static_cast<void>(session.lease(plain)), Error);
    std::deque<Lease> held;
    for (std::uint32_t i = 0; i < kLeases; ++i) held.push_back(session.lease(slot));
    try {
      static_cast<void>(session.lease(slot));
      ADD_FAILURE() << "leased twice";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_NE(std::string(error.what()).find("lease 0 of slot 'graph' while it holds it"),
                std::string::npos)
          << error.what();
    }
    held.pop_front();
    held.push_back(session.lease(slot));  // the refused call does not count
    EXPECT_EQ(held.back().buffer().entry(), 2U);
    reduce(session, held.back().buffer(), 4);
    session.close();
    return std::string();
  }));
}

TEST(Lease, SurvivesARecommitAndMayOutliveItsSession) {
  const Layout layout({.tp = 2});
  test::expect_no_errors(test::run_ranks(RankMode::threads, 2, [&](World& world) {
    SlotId slot;
    Plan plan = make_plan(layout, slot);
    SlotSpec other_spec = plan.slot(slot).spec;
    const SlotId other = plan.slot("other", other_spec);
    Lease survivor;
    {
      Session session = commit(world, plan);
      Lease kept = session.lease(slot);
      Lease moved = session.lease(other);
      reduce(session, kept.buffer(), 3);
      const void* const address = kept.buffer().data();
      Plan next = make_plan(layout, slot);
      other_spec.rows_max = 2 * kElements;
      static_cast<void>(next.slot("other", other_spec));
      session.recommit(next);
      EXPECT_EQ(kept.buffer().data(), address);
      reduce(session, kept.buffer(), 5);
      // The ring goes on; the changed slot begins anew, and its old lease means nothing to it.
      EXPECT_EQ(session.lease(slot).buffer().entry(), 3U);
      EXPECT_EQ(session.lease(slot).buffer().entry(), 4U);
      EXPECT_THROW(static_cast<void>(session.lease(slot)), Error) << "still held";
      for (std::uint32_t i = 0; i < kLeases; ++i) {
        EXPECT_EQ(session.lease(other).buffer().entry(), 2U + i);
      }
      moved.drop();
      moved.drop();
      Lease again = session.lease(other);
      reduce(session, again.buffer(), 6);
      kept.drop();
      reduce(session, session.lease(slot).buffer(), 7);
      survivor = session.lease(slot);
      session.close();
      again.drop();
    }
    EXPECT_TRUE(survivor.held());
    survivor.drop();
    EXPECT_FALSE(survivor.held());
    return std::string();
  }));
}

TEST(Lease, HeldPastTheDeadlineEndsAllWithTheNameOfTheHolder) {
  WaitLimits limits = test::patient_limits();
  limits.steady = 3s;
  const Layout layout({.tp = 3});
  const auto results = test::run_ranks(
      RankMode::threads, 3,
      [&](World& world) {
        SlotId slot;
        Session session = commit(world, make_plan(layout, slot));
        std::deque<Lease> held;
        for (std::uint32_t i = 0; i < kLeases; ++i) held.push_back(session.lease(slot));
        if (world.rank().index() == 1) {
          while (true) {
            world.check("holding leases");
            std::this_thread::sleep_for(1ms);
          }
        }
        held.clear();
        static_cast<void>(session.lease(slot));
        return std::string();
      },
      limits);
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::timeout) << result.error->what();
    EXPECT_EQ(result.error->rank(), WorldRank{1});
    EXPECT_NE(std::string(result.error->what()).find("lease 0 of slot 'graph'"), std::string::npos)
        << result.error->what();
  }
}

TEST(Lease, ADeadHolderEndsTheWait) {
  const Layout layout({.tp = 3});
  const auto results = test::run_ranks(RankMode::processes, 3, [&](World& world) {
    SlotId slot;
    Session session = commit(world, make_plan(layout, slot));
    std::deque<Lease> held;
    for (std::uint32_t i = 0; i < kLeases; ++i) held.push_back(session.lease(slot));
    static_cast<void>(session.group(GroupKind::tp).barrier());
    if (world.rank().index() == 1) {
      std::this_thread::sleep_for(50ms);  // so that the others are likely to wait already
      ::_exit(0);
    }
    held.clear();
    static_cast<void>(session.lease(slot));
    return std::string();
  });
  for (const std::uint32_t rank : {0U, 2U}) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::peer_failed) << results[rank].error->what();
    EXPECT_EQ(results[rank].error->rank(), WorldRank{1});
  }
}

}  // namespace
}  // namespace cohort
