// Blocks of scopes: whose they are, what they cost when there is no room, and what the ranks are
// told when they did not do the same.

#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "base/test_point.hpp"
#include "contract/reference_values.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using test::RankResult;
using testing::HasSubstr;

constexpr std::size_t kElements = 20'000;
constexpr std::size_t kBlockBytes = kElements * 4;
const Layout kLayout{{.tp = 4, .attn_cp = 2}};

struct Options {
  std::size_t pool_bytes = 4 * 80'128;
  PlanOptions plan = {};
};

Plan make_plan(const Options& options) {
  Plan plan(kLayout, options.plan);
  static_cast<void>(plan.slot("rows", {.groups = {GroupKind::tp, GroupKind::attn_cp},
                                       .dtype = DType::f32,
                                       .rows_max = 3'000,
                                       .row_elements = 1,
                                       .depth = 3}));
  static_cast<void>(plan.pool("shared", {.groups = {GroupKind::tp, GroupKind::attn_cp},
                                         .bytes = options.pool_bytes,
                                         .block_bytes_max = kBlockBytes}));
  return plan;
}

using Body = std::function<void(Session&, WorldRank)>;

std::vector<RankResult> run(const Body& body, const Options& options = {},
                            RankMode mode = RankMode::threads,
                            const WaitLimits& limits = test::patient_limits()) {
  return test::run_ranks(
      mode, kLayout.world_size(),
      [&](World& world) {
        Session session = commit(world, make_plan(options));
        body(session, world.rank());
        session.close();
        return std::string("done");
      },
      limits);
}

void fill(const Buffer& buffer, std::uint64_t seed, WorldRank rank, std::size_t elements) {
  contract::fill(buffer.data(), seed, rank, 0, elements, DType::f32);
}

void expect_sum(const Buffer& buffer, std::uint64_t seed, const Group& group,
                std::size_t elements) {
  for (std::size_t i = 0; i < elements; ++i) {
    ASSERT_EQ(contract::bits_at(buffer.data(), i, DType::f32),
              contract::reduced_bits(seed, group.ranks(), i, DType::f32, ReduceOp::sum))
        << "element " << i;
  }
}

/// An all_reduce of the whole block, checked; its verdict.
Verdict reduce(const Group& group, const Buffer& buffer, WorldRank rank, std::uint64_t seed,
               std::size_t elements) {
  fill(buffer, seed, rank, elements);
  const Verdict verdict = group.all_reduce(buffer.elements(elements), ReduceOp::sum);
  expect_sum(buffer, seed, group, elements);
  return verdict;
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "not refused";
  return "";
}

class ScopeInBothModes : public testing::TestWithParam<RankMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, ScopeInBothModes,
                         testing::Values(RankMode::threads, RankMode::processes),
                         [](const auto& mode) { return test::to_string(mode.param); });

TEST_P(ScopeInBothModes, BytesOfOneGroupServeAnotherAndTheOldHandleIsRefused) {
  const auto results = run(
      [](Session& session, WorldRank rank) {
        const Group tp = session.group(GroupKind::tp);
        const Group attn_cp = session.group(GroupKind::attn_cp);
        Buffer of_tp;
        {
          Scope scope = session.scope(GroupKind::tp);
          of_tp = scope.allocate(DType::f32, kElements, 1);
          EXPECT_TRUE(session.is_symmetric(of_tp.data(), kBlockBytes, GroupKind::tp));
          EXPECT_FALSE(session.is_symmetric(of_tp.data(), kBlockBytes, GroupKind::attn_cp));
          EXPECT_EQ(reduce(tp, of_tp, rank, 1, kElements), (Verdict{Path::host_direct}));
        }
        EXPECT_FALSE(session.is_symmetric(of_tp.data(), 4, GroupKind::tp));
        const std::string freed = refusal(
            [&] { static_cast<void>(tp.all_reduce(of_tp.elements(kElements), ReduceOp::sum)); });
        EXPECT_THAT(freed, HasSubstr("input for group tp lies in pool 'shared', in bytes that no "
                                     "live block holds"));
        Scope scope = session.scope(GroupKind::attn_cp);
        const Buffer of_cp = scope.allocate(DType::f32, kElements - 5, 1);
        EXPECT_EQ(of_cp.data(), of_tp.data());
        EXPECT_EQ(reduce(attn_cp, of_cp, rank, 2, kElements - 5), (Verdict{Path::host_direct}));
        for (const std::size_t elements : {std::size_t{2}, kElements - 5}) {
          const std::string stale = refusal(
              [&] { static_cast<void>(tp.all_reduce(of_tp.elements(elements), ReduceOp::sum)); });
          EXPECT_THAT(stale, HasSubstr("rank 0 refused all_reduce"));
          EXPECT_THAT(stale, HasSubstr("input lies in a block of 79980 bytes at offset 0 of pool "
                                       "'shared', which is allocated for group attn_cp, not for "
                                       "group tp of this call"));
        }
        // The session lives on.
        EXPECT_EQ(reduce(attn_cp, of_cp, rank, 3, 7), (Verdict{Path::host_inline}));
        session.verify();
      },
      {}, GetParam());
  test::expect_no_errors(results);
}

TEST(Scope, NestedScopesEndInOrderAndOnExceptions) {
  const auto results = run([](Session& session, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    Scope outer = session.scope(GroupKind::tp);
    const Buffer kept = outer.allocate(DType::f32, 100, 2);
    const auto live = [&] { return session.pool_use(PoolId{0}).live_blocks; };
    try {
      Scope inner = session.scope(GroupKind::attn_cp);
      static_cast<void>(inner.allocate(DType::f32, 100, 2));
      Scope innermost = session.scope(GroupKind::tp);
      static_cast<void>(innermost.allocate(DType::bf16, 100, 2));
      EXPECT_EQ(live(), 3U);
      throw std::runtime_error("a caller's own");
    } catch (const std::runtime_error&) {
      EXPECT_EQ(live(), 1U);
    }
    const Buffer early = outer.allocate(DType::i32, 0, 5);
    EXPECT_NE(early.data(), kept.data());
    EXPECT_EQ(refusal([&] { (void)early.rows(0, 1); }), "rows 0 to 1 of a block, which has 0");
    outer.release(early);
    EXPECT_EQ(refusal([&] { outer.release(early); }),
              "what is released is no live block of this scope");
    EXPECT_EQ(refusal([&] { outer.release(session.take(SlotId{0})); }),
              "what is released is no live block of this scope");
    {
      Scope other = session.scope(GroupKind::tp);
      EXPECT_EQ(refusal([&] { other.release(kept); }),
                "what is released is no live block of this scope");
    }
    static_cast<void>(reduce(tp, kept, rank, 4, 200));
    session.verify();
  });
  test::expect_no_errors(results);
}

TEST(Scope, MayBeMovedAndMayOutliveItsSession) {
  std::vector<std::optional<Scope>> left(kLayout.world_size());
  const auto results = run([&](Session& session, WorldRank rank) {
    Scope first = session.scope(GroupKind::tp);
    const Buffer block = first.allocate(DType::f32, kElements, 1);
    Scope second = std::move(first);
    // NOLINTNEXTLINE(bugprone-use-after-move): what it does then is what is tested.
    EXPECT_EQ(refusal([&] { (void)first.allocate(DType::f32, 1, 1); }), "the scope was moved from");
    EXPECT_EQ(refusal([&] { first.release(block); }), "the scope was moved from");
    static_cast<void>(reduce(session.group(GroupKind::tp), block, rank, 5, kElements));
    Scope third = session.scope(GroupKind::attn_cp);
    static_cast<void>(third.allocate(DType::f32, kElements, 1));
    EXPECT_EQ(session.pool_use(PoolId{0}).live_blocks, 2U);
    third = std::move(second);  // ends what it was
    EXPECT_EQ(third.group(), GroupKind::tp);
    EXPECT_EQ(session.pool_use(PoolId{0}).live_blocks, 1U);
    third.release(block);
    static_cast<void>(third.allocate(DType::f32, 1, 1));
    left[rank.index()].emplace(std::move(third));
  });
  test::expect_no_errors(results);
  for (auto& scope : left) {
    EXPECT_EQ(refusal([&] { (void)scope->allocate(DType::f32, 1, 1); }),
              "the scope's session is gone");
    scope.reset();
  }
}

TEST(Scope, OverBudgetIsStagedOnAllRanksAndCounted) {
  const auto results = run(
      [](Session& session, WorldRank rank) {
        const Group tp = session.group(GroupKind::tp);
        Scope scope = session.scope(GroupKind::tp);
        const Buffer fits = scope.allocate(DType::f32, kElements - 1000, 1);
        const Buffer over = scope.allocate(DType::f32, kElements, 1);
        EXPECT_EQ(reduce(tp, fits, rank, 1, 9'000).reason, Reason::ok);
        EXPECT_FALSE(session.is_symmetric(over.data(), 4, GroupKind::tp));
        for (const std::size_t elements : {std::size_t{1}, kElements}) {
          const Verdict verdict = reduce(tp, over, rank, 2, elements);
          EXPECT_EQ(verdict, (Verdict{Path::host_staged, Reason::over_budget, elements * 4}));
        }
        // One such operand is enough; the other one is staged, too, so that all ranks do alike.
        fill(fits, 3, rank, 4'000);
        const Verdict mixed = tp.all_gather(fits.elements(4'000), over.elements(16'000));
        EXPECT_EQ(mixed, (Verdict{Path::host_staged, Reason::over_budget, 16'000}));
        for (std::uint32_t r = 0; r < 4; ++r) {
          EXPECT_EQ(contract::bits_at(over.data(), r * 4'000 + 3'999, DType::f32),
                    contract::element_bits(3, WorldRank{r}, 3'999, DType::f32));
        }
        EXPECT_THAT(
            refusal([&] {
              (void)session.group(GroupKind::attn_cp).all_reduce(over.elements(8), ReduceOp::sum);
            }),
            HasSubstr("a block of 80000 bytes, which is allocated for group tp, not for "
                      "group attn_cp"));
        const PoolUse use = session.pool_use(PoolId{0});
        EXPECT_EQ(use.over_budget_blocks, 1U);
        EXPECT_EQ(use.over_budget_bytes, kBlockBytes);
        EXPECT_EQ(session.registrations_since_commit(), 0U);
        std::uint64_t calls = 0;
        for (const LedgerRow& row : session.ledger()) {
          if (row.reason != Reason::over_budget) continue;
          calls += row.calls;
          EXPECT_EQ(row.path, Path::host_staged);
          EXPECT_GT(row.bytes, 0U);
          EXPECT_EQ(row.copied_bytes, row.bytes);
        }
        EXPECT_EQ(calls, 3U);
        session.verify();
      },
      {.pool_bytes = kBlockBytes - 1000});
  test::expect_no_errors(results);
}

TEST(Scope, LargerThanStagingIsRefusedOnAllRanks) {
  const auto results = run([](Session& session, WorldRank rank) {
    Scope scope = session.scope(GroupKind::tp);
    // There would be room, but no block of this size was planned.
    const Buffer large = scope.allocate(DType::f32, kElements + 100, 1);
    const Group tp = session.group(GroupKind::tp);
    EXPECT_THAT(
        refusal([&] { (void)tp.all_reduce(large.elements(kElements + 100), ReduceOp::sum); }),
        HasSubstr("80400 bytes lies outside the arena and is larger than the largest one "
                  "planned for this group"));
    EXPECT_EQ(reduce(tp, large, rank, 1, kElements).reason, Reason::over_budget);
  });
  test::expect_no_errors(results);
}

TEST(Scope, StrictNamesPoolGroupAndBytesOnAllRanks) {
  const auto results = run(
      [](Session& session, WorldRank) {
        Scope scope = session.scope(GroupKind::attn_cp);
        static_cast<void>(scope.allocate(DType::f32, 1000, 1));
        static_cast<void>(scope.allocate(DType::f32, kElements, 1));
      },
      {.pool_bytes = kBlockBytes, .plan = {.strict = true}});
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error.has_value());
    EXPECT_EQ(result.error->code(), ErrorCode::strict_miss);
    EXPECT_THAT(result.error->what(),
                HasSubstr("pool 'shared' has no room for the 80000 bytes that a scope of group "
                          "attn_cp wants: its budget is 80128 bytes, 4096 of them in use"));
  }
}

TEST(Scope, SymmetryOffIsOrdinaryMemory) {
  const auto results = run([](Session& session, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    Scope off = session.scope(GroupKind::tp, Symmetry::off);
    const Buffer block = off.allocate(DType::f32, kElements, 1);
    EXPECT_EQ(reduce(tp, block, rank, 1, kElements),
              (Verdict{Path::host_staged, Reason::disabled, kBlockBytes}));
    EXPECT_EQ(session.pool_use(PoolId{0}).peak_bytes, 0U);
    Scope on = session.scope(GroupKind::tp, Symmetry::on);
    const Buffer fast = on.allocate(DType::f32, kElements, 1);
    EXPECT_EQ(reduce(tp, fast, rank, 1, kElements).reason, Reason::ok);
    session.verify();
  });
  test::expect_no_errors(results);
}

TEST(Scope, WithoutSymmetricMemoryAllIsStaged) {
  const auto results = run(
      [](Session& session, WorldRank rank) {
        Scope scope = session.scope(GroupKind::tp);
        const Buffer block = scope.allocate(DType::f32, kElements, 1);
        EXPECT_EQ(reduce(session.group(GroupKind::tp), block, rank, 1, kElements).reason,
                  Reason::disabled);
        EXPECT_FALSE(session.is_symmetric(block.data(), 4, GroupKind::tp));
      },
      {.plan = {.symmetry = Symmetry::off}});
  test::expect_no_errors(results);
}

TEST(Scope, DifferentHistoriesAreAMismatchOfTheNextCall) {
  for (const std::size_t elements : {std::size_t{2}, kElements}) {
    const auto results = run([&](Session& session, WorldRank rank) {
      Scope scope = session.scope(GroupKind::tp);
      if (rank == WorldRank{2}) static_cast<void>(scope.allocate(DType::f32, 30, 1));
      const Buffer block = scope.allocate(DType::f32, kElements, 1);
      static_cast<void>(
          session.group(GroupKind::tp).all_reduce(block.elements(elements), ReduceOp::sum));
    });
    for (const RankResult& result : results) {
      ASSERT_TRUE(result.error.has_value());
      EXPECT_EQ(result.error->code(), ErrorCode::mismatch);
      EXPECT_THAT(result.error->what(), HasSubstr("pool 0 block at 0"));
      EXPECT_THAT(result.error->what(), HasSubstr("pool 0 block at 256"));
    }
  }
}

TEST(Scope, VerifyNamesTheFirstDifferingStep) {
  const auto results = run([](Session& session, WorldRank rank) {
    for (int i = 0; i < 20; ++i) {
      Scope scope = session.scope(i % 2 == 0 ? GroupKind::tp : GroupKind::attn_cp);
      const std::size_t rows = rank == WorldRank{3} && i == 10 ? 501 : 500;
      static_cast<void>(scope.allocate(DType::f32, rows, 2));
      if (i == 9) session.verify();
    }
    session.verify();
  });
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error.has_value());
    EXPECT_EQ(result.error->code(), ErrorCode::mismatch);
    EXPECT_STREQ(result.error->what(),
                 "the ranks' scopes differ: step 20 is [allocate 4000 bytes for tp at offset 0 of "
                 "pool 0] on ranks 0, 1, 2, [allocate 4008 bytes for tp at offset 0 of pool 0] on "
                 "rank 3");
  }
}

// What a rank allocates on its own is its own affair as far as planned slots go.
TEST(Scope, AnotherHistoryNeverMovesAPlannedSlot) {
  const auto results = run([](Session& session, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    Scope scope = session.scope(GroupKind::tp);
    const auto* pool = scope.allocate(DType::f32, 1, 1).as<std::byte>();
    for (std::size_t i = 0; i < 40; ++i) {
      for (std::uint32_t own = 0; own < rank.index() * 3; ++own) {
        const Buffer block = scope.allocate(DType::f32, 1 + (i * 37 + own * 11) % 900, 3);
        if (own % 2 == 0) scope.release(block);
      }
      const Buffer rows = session.take(SlotId{0});
      const std::int64_t offset = rows.as<std::byte>() - pool;
      std::array<std::int64_t, 4> offsets{};
      static_cast<void>(tp.all_gather({&offset, 1, DType::i64}, {offsets.data(), 4, DType::i64}));
      for (const std::int64_t other : offsets) EXPECT_EQ(other, offset);
      EXPECT_EQ(reduce(tp, rows, rank, i, 3'000), (Verdict{Path::host_direct}));
    }
  });
  test::expect_no_errors(results);
}

TEST(Scope, BlocksOutliveARecommitThatLeavesTheirPoolAlone) {
  const auto results = run([](Session& session, WorldRank rank) {
    const auto next_plan = [](std::size_t shared_bytes) {
      Plan next = make_plan({.pool_bytes = shared_bytes});
      static_cast<void>(next.slot(
          "more",
          {.groups = {GroupKind::attn}, .dtype = DType::f32, .rows_max = 10, .row_elements = 10}));
      static_cast<void>(next.pool(
          "another",
          {.groups = {GroupKind::attn}, .bytes = kBlockBytes, .block_bytes_max = kBlockBytes}));
      return next;
    };
    Scope scope = session.scope(GroupKind::tp);
    const Buffer kept = scope.allocate(DType::f32, kElements, 1);
    EXPECT_EQ(reduce(session.group(GroupKind::tp), kept, rank, 1, kElements).reason, Reason::ok);
    try {
      session.recommit(next_plan(2 * 80'128));
      ADD_FAILURE() << "a pool with blocks changed";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("pool 'shared' has 1 live blocks"));
    }
    session.recommit(next_plan(4 * 80'128));
    EXPECT_EQ(reduce(session.group(GroupKind::tp), kept, rank, 2, kElements),
              (Verdict{Path::host_direct}));
    scope.release(kept);
    {
      Scope attn = session.scope(GroupKind::attn);
      const Buffer other = attn.allocate(DType::f32, kElements, 1);
      EXPECT_EQ(reduce(session.group(GroupKind::attn), other, rank, 3, kElements),
                (Verdict{Path::host_direct}));
    }
    EXPECT_EQ(scope.allocate(DType::f32, 7, 1).data(), kept.data());
    session.verify();
  });
  test::expect_no_errors(results);
}

TEST(Scope, NeedsAPoolThatServesItsGroup) {
  const auto results = run([](Session& session, WorldRank) {
    EXPECT_THAT(refusal([&] { (void)session.scope(GroupKind::world); }),
                HasSubstr("no pool of the plan serves group world"));
    EXPECT_THAT(refusal([&] { (void)session.scope(GroupKind::pp, Symmetry::off); }),
                HasSubstr("group pp is named by no slot or pool"));
    EXPECT_THAT(refusal([&] { (void)session.pool_use(PoolId{1}); }), HasSubstr("1 pools"));
    Scope scope = session.scope(GroupKind::tp);
    EXPECT_THAT(refusal([&] { (void)scope.allocate(DType::f32, SIZE_MAX, 2); }),
                HasSubstr("is too large"));
    session.close();
    EXPECT_EQ(refusal([&] { (void)scope.allocate(DType::f32, 1, 1); }), "the session is closed");
    EXPECT_EQ(refusal([&] { (void)session.scope(GroupKind::tp); }), "the session is closed");
  });
  test::expect_no_errors(results);
}

#if defined(COHORT_ASSERTIONS)
/// Holds a rank, before it says that it is done with its peers' memory, until the job fails.
class EndlessReader : public TestHooks {
 public:
  explicit EndlessReader(World& world) : world_(&world) {}
  void reach(std::string_view point) override {
    while (point == "call.done") {
      world_->check("reading");
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

 private:
  World* world_;
};

TEST(Scope, AllocatingWaitsForReadersOfTheBytesAndNamesThem) {
  WaitLimits limits = test::patient_limits();
  limits.steady = std::chrono::milliseconds(2'000);
  const auto results = test::run_ranks(
      RankMode::threads, kLayout.world_size(),
      [](World& world) {
        Session session = commit(world, make_plan({}));
        const Group tp = session.group(GroupKind::tp);
        {
          Scope scope = session.scope(GroupKind::tp);
          const Buffer block = scope.allocate(DType::f32, 100, 100);
          const Buffer all = scope.allocate(DType::f32, 400, 50);
          EndlessReader late(world);
          if (world.rank() == WorldRank{2}) test_hooks() = &late;
          fill(block, 1, world.rank(), 5'000);
          // Every header is seen, but rank 2 does not say that it has read the block.
          static_cast<void>(tp.all_gather(block.elements(5'000), all.elements(20'000)));
        }
        Scope scope = session.scope(GroupKind::attn_cp);
        static_cast<void>(scope.allocate(DType::f32, 100, 100));
        ADD_FAILURE() << "bytes that a peer reads were handed out";
        return std::string();
      },
      limits);
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error.has_value());
    EXPECT_EQ(result.error->code(), ErrorCode::timeout) << result.error->what();
    EXPECT_EQ(result.error->rank(), WorldRank{2});
    EXPECT_THAT(result.error->what(),
                HasSubstr("reuse of memory that rank 2 may still be reading"));
  }
}
#endif

}  // namespace
}  // namespace cohort
