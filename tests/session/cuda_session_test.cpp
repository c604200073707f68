// Sessions in GPU memory, over the fake of tests/support: what the library decides, without a GPU.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "session/cuda_ranks.hpp"
#include "session/session_state.hpp"

namespace cohort {
namespace {

using test::error_of;
using test::expect_all;
using test::FakeStream;
using test::kElements;
using test::plan_of;
using test::RankMode;
using test::sum_ones;
using testing::HasSubstr;

class CudaSession : public testing::TestWithParam<RankMode> {};

TEST_P(CudaSession, SumsOnAllRanks) {
  const auto results = test::run_ranks(GetParam(), 3, [](World& world) {
    Session session = commit(world, plan_of(3));
    const Group tp = session.group(GroupKind::tp);
    for (const std::size_t elements : {0U, 1U, 100U, 4096U}) {
      const Buffer buffer = session.take(SlotId{0});
      auto* const data = buffer.as<float>();
      for (std::size_t i = 0; i < elements; ++i) {
        data[i] = static_cast<float>(i + world.rank().index());
      }
      const Verdict verdict = tp.all_reduce(buffer.elements(elements), ReduceOp::sum);
      EXPECT_EQ(verdict.reason, Reason::ok);
      EXPECT_EQ(verdict.path,
                session.explain(GroupKind::tp, Op::all_reduce, DType::f32, elements * 4).path);
      session.wait({});
      for (std::size_t i = 0; i < elements; ++i) {
        EXPECT_EQ(data[i], static_cast<float>(3 * i + 3)) << i;
      }
    }
    EXPECT_EQ(session.measured_bytes(), session.footprint().planned_bytes(world.rank()));
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaSession, CountsWhatKernelsDid) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    EXPECT_TRUE(session.ledger().empty());
    for (int turn = 0; turn < 5; ++turn) sum_ones(session, 100);
    sum_ones(session, 1000);
    const std::vector<LedgerRow> rows = session.ledger();
    EXPECT_EQ(rows.size(), 2U);
    for (const LedgerRow& row : rows) {
      const bool small = row.path == Path::gpu_ll;
      EXPECT_TRUE(small || row.path == Path::gpu_lamport);
      EXPECT_EQ(row.reason, Reason::ok);
      EXPECT_EQ(row.calls, small ? 5U : 1U);
      EXPECT_EQ(row.bytes, small ? 2000U : 4000U);
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaSession, ReplaysGraphs) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    FakeStream stream;
    const Lease lease = session.lease(SlotId{0});
    auto* const data = lease.buffer().as<float>();
    const Group tp = session.group(GroupKind::tp).on(stream.handle());
    stream.begin_capture();
    static_cast<void>(tp.all_reduce(lease.buffer().elements(600), ReduceOp::sum));
    static_cast<void>(tp.all_reduce(lease.buffer().elements(600), ReduceOp::max));
    EXPECT_THAT(error_of([&] { session.wait(stream.handle()); }, ErrorCode::usage),
                HasSubstr("captured"));
    const auto replay = stream.end_capture();
    const auto check = [&](float ones) {
      std::fill_n(data, 600, ones);
      replay();
      session.wait(stream.handle());
      for (std::size_t i = 0; i < 600; ++i) ASSERT_EQ(data[i], 2 * ones);
      sum_ones(session);
    };
    for (int turn = 1; turn <= 4; ++turn) check(static_cast<float>(turn));
    std::uint64_t calls = 0;
    for (const LedgerRow& row : session.ledger()) calls += row.calls;
    EXPECT_EQ(calls, 12U);
    // What does not change is where the graph knows it.
    Plan next = plan_of(2);
    static_cast<void>(next.slot(
        "late", {.groups = {GroupKind::world}, .rows_max = kElements, .row_elements = 4}));
    session.recommit(next);
    check(7);
    EXPECT_EQ(session.measured_bytes(), session.footprint().planned_bytes(world.rank()));
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaSession, HandsOutBlocksAndLeases) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Plan plan = plan_of(2);
    const PoolId pool =
        plan.pool("pool", {.groups = {GroupKind::tp}, .bytes = 8192, .block_bytes_max = 8192});
    Session session = commit(world, plan);
    {
      Scope scope = session.scope(GroupKind::tp);
      const Buffer block = scope.allocate(DType::f32, 1000, 1);
      EXPECT_TRUE(session.is_symmetric(block.data(), 4000, GroupKind::tp));
      std::fill_n(block.as<float>(), 1000, 1.0F);
      const Verdict verdict =
          session.group(GroupKind::tp).all_reduce(block.rows(0, 1000), ReduceOp::sum);
      EXPECT_EQ(verdict, (Verdict{Path::gpu_lamport, Reason::ok, 0}));
      session.wait({});
      EXPECT_EQ(block.as<float>()[999], 2.0F);
      EXPECT_THAT(error_of([&] { static_cast<void>(scope.allocate(DType::f32, 2000, 1)); },
                           ErrorCode::out_of_memory),
                  HasSubstr("pool 'pool' has no room for a block of 8000 bytes"));
    }
    EXPECT_EQ(session.pool_use(pool).live_blocks, 0U);
    error_of([&] { static_cast<void>(session.scope(GroupKind::tp, Symmetry::off)); },
             ErrorCode::usage);
    for (int turn = 0; turn < 3; ++turn) {
      const Lease lease = session.lease(SlotId{0});  // waits for the peer's to be dropped
      std::fill_n(lease.buffer().as<float>(), 8, 1.0F);
      static_cast<void>(
          session.group(GroupKind::tp).all_reduce(lease.buffer().elements(8), ReduceOp::sum));
      session.wait({});
      EXPECT_EQ(lease.buffer().as<float>()[7], 2.0F);
    }
    session.verify();
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaSession, CountsOnAcrossTheWrapOfFlags) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    host::Domain& domain = world.domain();
    const auto deadline = domain.deadline_after(domain.limits().setup);
    SessionState session(domain, plan_of(2), 1);
    session.open_memory({});
    session.agree_on_memory(deadline);
    session.set_first_sequence((std::uint64_t{1} << 32U) - 10);
    session.allocate();
    session.map_peers(deadline);
    const Group tp = session.group(GroupKind::tp);
    for (int turn = 0; turn < 20; ++turn) {
      const std::size_t elements = turn % 2 == 0 ? 10 : 1000;  // flags, then sentinels
      const Buffer buffer = session.take(SlotId{0});
      std::fill_n(buffer.as<float>(), elements, static_cast<float>(turn));
      static_cast<void>(tp.all_reduce(buffer.elements(elements), ReduceOp::sum));
      session.wait({});
      EXPECT_EQ(buffer.as<float>()[elements - 1], static_cast<float>(2 * turn));
    }
    domain.all_gather({}, "end", deadline);
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaSession, MovesTheSentinelAsItIs) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Plan plan(Layout{{.tp = 2}}, {.memory = Memory::cuda});
    static_cast<void>(plan.slot(
        "x",
        {.groups = {GroupKind::tp}, .dtype = DType::i32, .rows_max = 8192, .row_elements = 1}));
    Session session = commit(world, plan);
    const Buffer buffer = session.take(SlotId{0});
    const auto sentinel = static_cast<std::int32_t>(0xFFFAFFFAU);
    for (int turn = 0; turn < 4; ++turn) {
      const auto value = [&](std::uint32_t rank, std::size_t i) {
        return i % 3 == rank ? sentinel : static_cast<std::int32_t>(i + rank);
      };
      const std::uint32_t self = world.rank().index();
      auto* const own = buffer.as<std::int32_t>() + self * 4096;
      for (std::size_t i = 0; i < 4096; ++i) own[i] = value(self, i);
      if (turn == 3) std::fill_n(own, 4096, sentinel);
      static_cast<void>(
          session.group(GroupKind::tp).all_gather({own, 4096, DType::i32}, buffer.rows(0, 8192)));
      session.wait({});
      for (std::size_t i = 0; i < 8192; ++i) {
        const auto rank = static_cast<std::uint32_t>(i / 4096);
        EXPECT_EQ(buffer.as<std::int32_t>()[i], turn == 3 ? sentinel : value(rank, i % 4096));
      }
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Modes, CudaSession,
                         testing::Values(RankMode::threads, RankMode::processes),
                         [](const auto& mode) { return test::to_string(mode.param); });

TEST(CudaCommit, TakesTheDeviceThatItIsTold) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Session session = commit(world, plan_of(2), {.device = 3 - world.rank().index()});
    sum_ones(session);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
  const auto refused = test::run_ranks(RankMode::threads, 2, [](World& world) {
    static_cast<void>(
        commit(world, plan_of(2), {.device = world.rank() == WorldRank{1} ? 77U : 0U}));
    return std::string();
  });
  expect_all(refused, ErrorCode::usage, {"rank 1 is to use device 77 of 4"});
}

TEST(CudaCommit, LimitsEarlyKernelsWhereADeviceIsShared) {
  const auto early_threads_of = [](std::uint32_t devices, std::uint32_t lanes) {
    test::fake_cuda().devices = devices;
    test::fake_cuda().early_threads = 0;
    test::expect_no_errors(test::run_ranks(RankMode::threads, 2, [&](World& world) {
      Session session = commit(world, plan_of(2, {.lanes = lanes}));
      session.close();
      return std::string();
    }));
    return test::fake_cuda().early_threads.load();
  };
  const std::uint32_t alone = early_threads_of(2, 1);
  const std::uint32_t lanes = early_threads_of(2, 2);
  const std::uint32_t ranks = early_threads_of(1, 1);
  const std::uint32_t both = early_threads_of(1, 2);
  test::fake_cuda().devices = 4;
  EXPECT_EQ(alone, ~0U);
  EXPECT_LT(lanes, ~0U);
  EXPECT_EQ(ranks, lanes);
  EXPECT_EQ(both, lanes / 2);
}

TEST(CudaCommit, GivesEverythingBack) {
  const auto results = test::run_ranks(RankMode::threads, 3, [](World& world) {
    for (int turn = 0; turn < 3; ++turn) {
      Session session = commit(world, plan_of(3));
      sum_ones(session);
      if (turn < 2) session.close();
    }
    return std::string();
  });
  EXPECT_EQ(test::fake_cuda().taken_bytes.load(), 0);
  EXPECT_EQ(test::fake_cuda().mapped_bytes.load(), 0);
  EXPECT_EQ(test::fake_cuda().reserved_bytes.load(), 0);
  EXPECT_EQ(test::fake_cuda().open_devices.load(), 0);
}

}  // namespace
}  // namespace cohort
