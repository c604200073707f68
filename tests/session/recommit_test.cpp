// Plans that replace a committed one, and what stops them half-way.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "base/system_limits.hpp"
#include "base/test_point.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;

SlotSpec spec_of(std::size_t rows, std::vector<GroupKind> groups = {GroupKind::tp}) {
  return {.groups = std::move(groups),
          .dtype = DType::i32,
          .rows_max = rows,
          .row_elements = 10,
          .depth = 2};
}

Plan plan_of(const Layout& layout, const std::vector<SlotSpec>& specs,
             const PlanOptions& options = {}) {
  Plan plan(layout, options);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    static_cast<void>(plan.slot("slot" + std::to_string(i), specs[i]));
  }
  return plan;
}

/// One all-reduce of every element of a slot's next entry, with every group that it names.
void use_slot(Session& session, SlotId slot, std::int32_t salt) {
  for (const GroupKind kind : session.plan().slot(slot).spec.groups) {
    const Group group = session.group(kind);
    const Buffer buffer = session.take(slot);
    const std::size_t elements = buffer.rows_max() * buffer.row_elements();
    std::fill_n(buffer.as<std::int32_t>(), elements,
                salt + static_cast<std::int32_t>(group.rank().index()));
    static_cast<void>(group.all_reduce(buffer.elements(elements), ReduceOp::sum));
    const auto size = static_cast<std::int32_t>(group.size());
    const std::int32_t wanted = salt * size + size * (size - 1) / 2;
    for (std::size_t i = 0; i < elements; ++i) {
      ASSERT_EQ(buffer.as<std::int32_t>()[i], wanted) << "slot " << slot.index();
    }
  }
}

void use_all(Session& session, WorldRank rank) {
  for (std::int32_t turn = 0; turn < 3; ++turn) {
    for (std::uint32_t slot = 0; slot < session.plan().slots().size(); ++slot) {
      use_slot(session, SlotId{slot}, turn * 7);
    }
  }
  EXPECT_EQ(session.registrations_since_commit(), 0U);
  EXPECT_EQ(session.measured_bytes(), session.footprint().planned_bytes(rank));
}

std::size_t bytes_of_rows(const Footprint& footprint, FootprintRow::Kind kind) {
  std::size_t sum = 0;
  for (const FootprintRow& row : footprint.rows) sum += row.kind == kind ? row.bytes : 0;
  return sum;
}

// --- growing ------------------------------------------------------------------------------------

const std::vector<SlotSpec> kFirst = {spec_of(100), spec_of(2000)};
/// Slot 1 changes, slot 2 brings a group of its own, slot 0 and tp's channel stay.
const std::vector<SlotSpec> kSecond = {spec_of(100), spec_of(60), spec_of(900, {GroupKind::attn})};
/// Slot 0 outgrows tp's staging, slot 3 is new, slot 1 loses nothing.
const std::vector<SlotSpec> kThird = {spec_of(5000, {GroupKind::tp, GroupKind::world}), spec_of(60),
                                      spec_of(900, {GroupKind::attn}), spec_of(3)};

std::string grow_twice(World& world, const Layout& layout, const PlanOptions& options) {
  Session session = commit(world, plan_of(layout, kFirst, options));
  use_all(session, world.rank());
  const std::uint32_t generation = session.generation();

  // Held across the recommit, with a use that peers may not have finished.
  const Buffer held = session.take(SlotId{0});
  std::fill_n(held.as<std::int32_t>(), 1000, 5);
  const Group tp = session.group(GroupKind::tp);
  static_cast<void>(tp.all_reduce(held.elements(1000), ReduceOp::max));
  const std::uint64_t calls_before = session.ledger().at(0).calls;

  const Plan second = plan_of(layout, kSecond, options);
  const Footprint planned = session.footprint(second);
  session.recommit(second);
  EXPECT_EQ(session.generation(), generation + 1);
  EXPECT_EQ(session.footprint().arena_bytes, planned.arena_bytes);
  EXPECT_EQ(session.plan().slots()[0].offset, 0U);
  EXPECT_EQ(session.plan().slots().size(), 3U);
  EXPECT_GE(bytes_of_rows(planned, FootprintRow::Kind::retired), 2000U * 10 * 4 * 2);
  EXPECT_EQ(session.ledger().at(0).calls, calls_before) << "the ledger goes on";
  EXPECT_EQ(std::count(held.as<std::int32_t>(), held.as<std::int32_t>() + 1000, 5), 1000);
  // The handles of before still work, and the ring goes on where it was.
  const Verdict verdict = tp.all_reduce(held.elements(1000), ReduceOp::max);
  EXPECT_NE(verdict.reason, Reason::operand_not_in_heap);
  EXPECT_EQ(session.take(SlotId{0}).entry(), 1 - held.entry());
  use_all(session, world.rank());

  session.recommit(plan_of(layout, kThird, options));
  EXPECT_GT(session.footprint().arena_bytes, planned.arena_bytes);
  use_all(session, world.rank());
  // Memory of a slot that moved is for no call any more.
  EXPECT_THROW(static_cast<void>(tp.all_reduce(held.elements(1000), ReduceOp::max)), Error);
  const Footprint before = session.footprint();
  session.recommit(session.plan());
  EXPECT_EQ(session.footprint().arena_bytes, before.arena_bytes) << "nothing changed";
  use_all(session, world.rank());
  session.close();
  return "done";
}

using Setting = std::tuple<RankMode, std::uint32_t, Symmetry>;
class Recommit : public testing::TestWithParam<Setting> {};

TEST_P(Recommit, GrowsWithoutMovingWhatStays) {
  const auto [mode, ranks, symmetry] = GetParam();
  const Layout layout({.tp = ranks});
  const PlanOptions options{.symmetry = symmetry, .lanes = 2};
  const auto results = test::run_ranks(
      mode, ranks, [&](World& world) { return grow_twice(world, layout, options); });
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Recommit,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Values(1U, 2U, 3U, 5U),
                                          testing::Values(Symmetry::on, Symmetry::off)),
                         [](const testing::TestParamInfo<Setting>& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  std::to_string(std::get<1>(param.param)) +
                                  (std::get<2>(param.param) == Symmetry::on ? "_on" : "_off");
                         });

TEST(Recommit, AddsSlotsOfAStage) {
  const Layout layout({.tp = 2, .pp = 2});
  test::expect_no_errors(test::run_ranks(RankMode::threads, 4, [&](World& world) {
    Plan plan(layout);
    SlotSpec spec = spec_of(50);
    const SlotId common = plan.slot("common", spec);
    Session session = commit(world, plan);
    use_slot(session, common, 3);
    spec = spec_of(700);
    spec.stage = 1;
    const SlotId second = plan.slot("second", spec);
    session.recommit(plan);
    use_slot(session, common, 4);
    if (layout.pipeline_stage(world.rank()) == 1) {
      use_slot(session, second, 5);
    } else {
      EXPECT_THROW(static_cast<void>(session.take(second)), Error);
    }
    EXPECT_EQ(session.measured_bytes(), session.footprint().planned_bytes(world.rank()));
    session.close();
    return std::string();
  }));
}

// --- failing ------------------------------------------------------------------------------------

#if defined(COHORT_ASSERTIONS)

/// Does something on one rank when it reaches a point for the first time.
class AtPoint final : public TestHooks {
 public:
  AtPoint(std::string point, std::function<void()> action)
      : point_(std::move(point)), action_(std::move(action)) {
    test_hooks() = this;
  }
  ~AtPoint() override { test_hooks() = nullptr; }
  AtPoint(const AtPoint&) = delete;
  AtPoint& operator=(const AtPoint&) = delete;
  void reach(std::string_view point) override {
    if (point == point_ && !std::exchange(done_, true)) action_();
  }

 private:
  std::string point_;
  std::function<void()> action_;
  bool done_ = false;
};

#endif

/// `recommit` fails with this error on every rank, and the session works on.
void expect_failure(Session& session, WorldRank rank, const Plan& next, ErrorCode code,
                    const std::vector<std::string>& parts) {
  const std::uint32_t generation = session.generation();
  const Footprint before = session.footprint();
  try {
    session.recommit(next);
    ADD_FAILURE() << "recommitted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no '" << part << "' in: " << error.what();
    }
  }
  EXPECT_EQ(session.generation(), generation);
  EXPECT_EQ(session.footprint().arena_bytes, before.arena_bytes);
  use_all(session, rank);
}

const Layout kThree({.tp = 3});

#if defined(COHORT_ASSERTIONS)

class FailingStep : public testing::TestWithParam<const char*> {};

TEST_P(FailingStep, LeavesAllRanksWithTheOldPlan) {
  for (const std::uint32_t culprit : {0U, 2U}) {
    test::expect_no_errors(test::run_ranks(RankMode::threads, 3, [&](World& world) {
      Session session = commit(world, plan_of(kThree, kFirst));
      {
        std::optional<AtPoint> fault;
        if (world.rank().index() == culprit) {
          fault.emplace(GetParam(), [&] {
            throw Error(ErrorCode::out_of_memory, "planted on rank " + std::to_string(culprit),
                        world.rank());
          });
        }
        expect_failure(session, world.rank(), plan_of(kThree, kSecond), ErrorCode::out_of_memory,
                       {"planted on rank " + std::to_string(culprit)});
      }
      session.recommit(plan_of(kThree, kSecond));
      use_all(session, world.rank());
      session.close();
      return std::string();
    }));
  }
}

INSTANTIATE_TEST_SUITE_P(Points, FailingStep,
                         testing::Values("recommit.agree", "recommit.allocate", "arena.reserve",
                                         "recommit.map", "recommit.stamp", "recommit.prove",
                                         "recommit.decide"),
                         [](const testing::TestParamInfo<const char*>& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

#endif

TEST(RecommitFails, OnAPlanThatOnlyOneRankHas) {
  test::expect_no_errors(test::run_ranks(RankMode::threads, 3, [](World& world) {
    Session session = commit(world, plan_of(kThree, kFirst));
    std::vector<SlotSpec> specs = kSecond;
    if (world.rank().index() == 1) specs[2].rows_max = 901;
    expect_failure(session, world.rank(), plan_of(kThree, specs), ErrorCode::mismatch,
                   {"'slot2'", "rank 1 declared", "rows_max 901", "ranks 0, 2 declared"});
    session.close();
    return std::string();
  }));
}

TEST(RecommitFails, OnAPlanThatMayNotFollow) {
  test::expect_no_errors(test::run_ranks(RankMode::threads, 3, [](World& world) {
    const PlanOptions options{.reserve_bytes = std::size_t{1} << 20};
    Session session = commit(world, plan_of(kThree, kFirst, options));
    expect_failure(session, world.rank(), plan_of(kThree, {kFirst[0]}, options), ErrorCode::usage,
                   {"slot 1 'slot1' is missing"});
    expect_failure(session, world.rank(), plan_of(kThree, kFirst), ErrorCode::usage,
                   {"cannot change the plan's options"});
    expect_failure(session, world.rank(),
                   plan_of(kThree, {kFirst[0], kFirst[1], spec_of(100'000)}, options),
                   ErrorCode::usage, {"1.0 MiB are reserved"});
    session.close();
    return std::string();
  }));
}

TEST(RecommitFails, WhileAMessageIsUnderWay) {
  test::expect_no_errors(test::run_ranks(RankMode::threads, 3, [](World& world) {
    Plan plan = plan_of(kThree, kFirst);
    plan.send_recv(GroupKind::tp);
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    Plan next = plan_of(kThree, kSecond);
    next.send_recv(GroupKind::tp);
    for (int turn = 0; turn < 2; ++turn) {
      const Buffer buffer = session.take(SlotId{0});
      std::fill_n(buffer.as<std::int32_t>(), 1000, 9 + turn);
      if (world.rank().index() == 2) {
        static_cast<void>(tp.send(buffer.elements(1000), GroupRank{1}));
      }
      if (turn == 0) {
        expect_failure(session, world.rank(), next, ErrorCode::usage,
                       {"rank 1 has not received message 1 from rank 2"});
      }
      if (world.rank().index() == 1) {
        static_cast<void>(tp.recv(buffer.elements(1000), GroupRank{2}));
        EXPECT_EQ(buffer.as<std::int32_t>()[999], 9 + turn);
      }
      session.recommit(next);
      use_all(session, world.rank());
    }
    session.close();
    return std::string();
  }));
}

TEST(RecommitFails, OnAWorldWithoutEnoughMemory) {
  constexpr std::size_t kRows = std::size_t{1} << 31;  // 320 GiB a rank, its staging included
  if (available_memory()->bytes > std::size_t{1} << 38) GTEST_SKIP() << "there is enough";
  test::expect_no_errors(test::run_ranks(RankMode::threads, 2, [](World& world) {
    const Layout layout({.tp = 2});
    const PlanOptions options{.reserve_bytes = std::size_t{1} << 39};
    Session session = commit(world, plan_of(layout, kFirst, options));
    std::vector<SlotSpec> specs = kFirst;
    specs.push_back(spec_of(kRows));
    expect_failure(session, world.rank(), plan_of(layout, specs, options), ErrorCode::out_of_memory,
                   {"recommit failed on rank 0", "plan smaller slots"});
    session.close();
    return std::string();
  }));
}

#if defined(COHORT_ASSERTIONS)

// The others give up first; whoever comes late finds that out, at whichever step it was.
class LateRank : public testing::TestWithParam<const char*> {};

TEST_P(LateRank, GetsTheErrorThatTheOthersGot) {
  std::atomic<int> given_up{0};
  test::expect_no_errors(test::run_ranks(RankMode::threads, 3, [&](World& world) {
    Session session = commit(world, plan_of(kThree, kFirst));
    const Plan next = plan_of(kThree, kSecond);
    {
      std::optional<AtPoint> delay;
      if (world.rank().index() == 1) {
        delay.emplace(GetParam(), [&] {
          while (given_up.load() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        });
      }
      try {
        // Long enough to get as far as the late rank lets them, on any machine.
        session.recommit(next, std::chrono::milliseconds(world.rank().index() == 1 ? 60'000 : 700));
        ADD_FAILURE() << "recommitted";
      } catch (const Error& error) {
        ++given_up;
        EXPECT_EQ(error.code(), ErrorCode::timeout) << error.what();
        EXPECT_EQ(error.phase(), "recommit");
      }
    }
    use_all(session, world.rank());
    session.recommit(next);
    use_all(session, world.rank());
    session.close();
    return std::string();
  }));
}

INSTANTIATE_TEST_SUITE_P(Points, LateRank,
                         testing::Values("recommit.begin", "recommit.agree", "recommit.allocate",
                                         "recommit.map", "recommit.stamp", "recommit.prove",
                                         "recommit.decide"),
                         [](const testing::TestParamInfo<const char*>& param) {
                           return std::string(param.param).substr(9);
                         });

class DyingRank : public testing::TestWithParam<const char*> {};

TEST_P(DyingRank, EndsAllOthersWithItsName) {
  const auto results = test::run_ranks(RankMode::processes, 3, [&](World& world) {
    Session session = commit(world, plan_of(kThree, kFirst));
    std::optional<AtPoint> death;
    if (world.rank().index() == 1) death.emplace(GetParam(), [] { ::_exit(0); });
    session.recommit(plan_of(kThree, kSecond));
    ADD_FAILURE() << "recommitted without rank 1";
    return std::string();
  });
  for (const std::uint32_t rank : {0U, 2U}) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::peer_failed) << results[rank].error->what();
    EXPECT_EQ(results[rank].error->rank(), WorldRank{1});
  }
}

INSTANTIATE_TEST_SUITE_P(Points, DyingRank,
                         testing::Values("recommit.begin", "recommit.allocate", "arena.reserve",
                                         "recommit.map", "recommit.prove", "recommit.decide"),
                         [](const testing::TestParamInfo<const char*>& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

#endif

}  // namespace
}  // namespace cohort
