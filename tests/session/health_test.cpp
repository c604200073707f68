// What health tells of sessions: generations, calls on each lane, and ranks held in mid-call.

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "base/test_point.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::RankMode;

constexpr std::uint32_t kRanks = 3;

Plan make_plan(SlotId& slot) {
  Plan plan(Layout({.tp = kRanks}), {.lanes = 2});
  slot = plan.slot("rows", {.groups = {GroupKind::tp, GroupKind::world},
                            .dtype = DType::i32,
                            .rows_max = 4096,
                            .row_elements = 1});
  return plan;
}

std::uint64_t calls_of(const RankHealth& rank, GroupKind group, std::uint32_t lane) {
  for (const CallCount& count : rank.calls) {
    if (count.group == group && count.lane == Lane{lane}) return count.sequence;
  }
  return 0;
}

TEST(SessionHealth, TellsGenerationsAndCallsOfAllRanks) {
  const auto results = test::run_ranks(RankMode::threads, kRanks, [](World& world) {
    EXPECT_EQ(world.health().ranks[world.rank().index()].activity, RankActivity::joined);
    SlotId slot;
    Plan plan = make_plan(slot);
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    const auto settle = [&] {  // so that no rank looks before all have called
      static_cast<void>(session.group(GroupKind::world).barrier());
    };
    settle();
    const Health before = world.health();
    settle();
    for (int call = 0; call < 5; ++call) static_cast<void>(tp.barrier());
    for (int call = 0; call < 3; ++call) static_cast<void>(tp.barrier(Lane{1}));
    settle();
    const Health after = world.health();
    settle();
    for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
      const auto more = [&](std::uint32_t lane) {
        return calls_of(after.ranks[rank], GroupKind::tp, lane) -
               calls_of(before.ranks[rank], GroupKind::tp, lane);
      };
      EXPECT_EQ(more(0), 5U) << "rank " << rank;
      EXPECT_EQ(more(1), 3U) << "rank " << rank;
      EXPECT_EQ(calls_of(after.ranks[rank], GroupKind::attn_tp, 0), 0U);
      EXPECT_EQ(after.ranks[rank].generation, 1U);
    }
    EXPECT_EQ(after.ranks[world.rank().index()].activity, RankActivity::working);
    EXPECT_EQ(after.verdict(), HealthVerdict::healthy);
    plan.slot("more", {.groups = {GroupKind::tp}, .rows_max = 8, .row_elements = 8});
    session.recommit(plan);
    EXPECT_EQ(world.health().generation, 2U);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

#if defined(COHORT_ASSERTIONS)

/// Does something where the rank is about to publish its header.
class HeldAtPublish final : public TestHooks {
 public:
  explicit HeldAtPublish(std::function<void()> hold) : hold_(std::move(hold)) {
    test_hooks() = this;
  }
  ~HeldAtPublish() override { test_hooks() = nullptr; }
  void reach(std::string_view point) override {
    if (point == "call.publish" && !held_) {
      held_ = true;
      hold_();
    }
  }

 private:
  std::function<void()> hold_;
  bool held_ = false;
};

TEST(SessionHealth, NamesTheCallInWhichRanksAreStuck) {
  WaitLimits limits = test::patient_limits();
  limits.stall = 20ms;
  testing::internal::CaptureStderr();  // the stalls' lines
  const auto results = test::run_ranks(
      RankMode::threads, kRanks,
      [](World& world) {
        SlotId slot;
        Session session = commit(world, make_plan(slot));
        Buffer rows = session.take(slot);
        std::fill_n(rows.as<std::int32_t>(), 4096, 1);
        Health seen;
        const auto reduce = [&] {
          const Verdict verdict =
              session.group(GroupKind::tp).all_reduce(rows.elements(4096), ReduceOp::sum);
          EXPECT_EQ(verdict.reason, Reason::ok);
        };
        if (world.rank() != WorldRank{0}) {
          reduce();
        } else {
          const HeldAtPublish held([&] {
            const auto bound = std::chrono::steady_clock::now() + 60s;
            std::thread([&] {
              do {
                seen = world.health();
                std::this_thread::sleep_for(1ms);
              } while (std::chrono::steady_clock::now() < bound &&
                       (seen.ranks[1].activity != RankActivity::stalled ||
                        seen.ranks[2].activity != RankActivity::stalled));
            }).join();
          });
          reduce();
        }
        EXPECT_EQ(rows.as<std::int32_t>()[4095], 3);
        session.close();
        return world.rank() == WorldRank{0} ? to_text(seen) : std::string();
      },
      limits);
  const std::string log = testing::internal::GetCapturedStderr();
  test::expect_no_errors(results);
  for (const char* rank : {"rank 1", "rank 2"}) {
    EXPECT_THAT(results[0].output, testing::ContainsRegex(std::string(rank) +
                                                          "  stalled .* for rank 0 in all_reduce.* "
                                                          "on tp .0, 1, 2. lane 0, call [0-9]+"));
    EXPECT_THAT(log, testing::ContainsRegex(std::string(rank) +
                                            " has waited .* for rank 0 in all_reduce.*; rank 0 "
                                            "waits for nobody; last calls of rank 0: .*tp "));
  }
}

#endif

}  // namespace
}  // namespace cohort
