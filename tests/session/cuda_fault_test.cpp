// Sessions in GPU memory when ranks differ, are refused, late or gone, over the fake of
// tests/support.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "session/cuda_ranks.hpp"

namespace cohort {
namespace {

using test::error_of;
using test::expect_all;
using test::FakeStream;
using test::plan_of;
using test::RankMode;
using test::short_steady_limit;
using test::sum_ones;
using testing::HasSubstr;

class CudaFault : public testing::TestWithParam<RankMode> {};

TEST_P(CudaFault, RefusesAnotherGroupsSlotOnAllRanksAndGoesOn) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    const Buffer wrong = session.take(SlotId{1});
    for (int turn = 0; turn < 20; ++turn) {
      const std::string text = error_of(
          [&] {
            static_cast<void>(
                session.group(GroupKind::tp).all_reduce(wrong.elements(8), ReduceOp::sum));
          },
          ErrorCode::usage);
      EXPECT_THAT(text, HasSubstr("slot 'world', which is not planned for group tp"));
      EXPECT_THAT(text, HasSubstr("rank 0 refused all_reduce on tp [0, 1]"));
      if (turn % 3 == 0) sum_ones(session);
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaFault, PrintsBothSidesOfAMismatch) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    sum_ones(session);
    const Buffer buffer = session.take(SlotId{0});
    std::fill_n(buffer.as<float>(), 16, 1.0F);
    const std::size_t elements = world.rank() == WorldRank{0} ? 8 : 16;
    static_cast<void>(
        session.group(GroupKind::tp).all_reduce(buffer.elements(elements), ReduceOp::sum));
    try {
      session.wait({});
    } catch (const Error&) {
      EXPECT_TRUE(std::isnan(buffer.as<float>()[0]));
      throw;
    }
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch,
             {"all_reduce(sum, f32, 32 bytes, gpu_ll)", "all_reduce(sum, f32, 64 bytes, gpu_ll)",
              "tp [0, 1] lane 0"});
}

TEST_P(CudaFault, NamesTheRankThatDoesNotCome) {
  const auto results = test::run_ranks(
      GetParam(), 2,
      [](World& world) {
        Session session = commit(world, plan_of(2));
        if (world.rank() == WorldRank{1}) {
          while (true) {
            world.check();
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
        }
        sum_ones(session);
        return std::string();
      },
      short_steady_limit());
  expect_all(results, ErrorCode::timeout,
             {"rank 0 waited", "for rank 1 in all_reduce(sum, f32, 400 bytes, gpu_ll)",
              "last calls of rank 1: world [0, 1] lane 0 call", "tp [0, 1] lane 0 call"});
}

TEST_P(CudaFault, KeepsToThePinnedPathWhenStrict) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Plan plan(
        Layout{{.tp = 2}},
        {.strict = true, .path_table = PathTable::pinned(Path::gpu_ll), .memory = Memory::cuda});
    static_cast<void>(
        plan.slot("x", {.groups = {GroupKind::tp}, .rows_max = 1024, .row_elements = 1}));
    Session session = commit(world, plan);
    sum_ones(session, 1024);
    std::vector<float> larger(1025);
    const Tensor operand{larger.data(), larger.size(), DType::f32};
    const std::string text = error_of(
        [&] { static_cast<void>(session.group(GroupKind::tp).all_reduce(operand, ReduceOp::sum)); },
        ErrorCode::strict_miss);
    EXPECT_THAT(text, HasSubstr("over_inline_limit"));
    sum_ones(session, 10);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaFault, GoesOnWithItsOldPlanIfARankCannotGrow) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    Plan next = plan_of(2);
    static_cast<void>(next.slot(
        "huge", {.groups = {GroupKind::tp}, .rows_max = std::size_t{1} << 28U, .row_elements = 1}));
    EXPECT_THAT(error_of([&] { session.recommit(next); }, ErrorCode::usage),
                HasSubstr("reserve_bytes"));
    sum_ones(session);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Modes, CudaFault, testing::Values(RankMode::threads, RankMode::processes),
                         [](const auto& mode) { return test::to_string(mode.param); });

TEST(CudaDeath, EndsAKernelThatWaitsForTheDead) {
  const auto results = test::run_ranks(RankMode::processes, 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    sum_ones(session);
    if (world.rank() == WorldRank{1}) ::_exit(0);
    sum_ones(session);
    return std::string();
  });
  ASSERT_TRUE(results[0].error);
  EXPECT_EQ(results[0].error->code(), ErrorCode::peer_failed) << results[0].error->what();
}

TEST(CudaWait, EndsWithAStreamThatDoesNot) {
  const auto results = test::run_ranks(
      RankMode::threads, 2,
      [](World& world) {
        Session session = commit(world, plan_of(2));
        FakeStream stream;
        stream.block();
        if (world.rank() == WorldRank{0}) session.wait(stream.handle());
        while (true) session.wait({});
        return std::string();
      },
      short_steady_limit());
  expect_all(results, ErrorCode::timeout, {"rank 0 waited for a stream"});
}

TEST(CudaWait, IsNotForHostMemory) {
  const auto results = test::run_ranks(RankMode::threads, 1, [](World& world) {
    Plan plan(Layout{{.tp = 1}});
    static_cast<void>(
        plan.slot("x", {.groups = {GroupKind::tp}, .rows_max = 1, .row_elements = 1}));
    Session session = commit(world, plan);
    error_of([&] { session.wait({}); }, ErrorCode::usage);
    error_of([&] { static_cast<void>(session.group(GroupKind::tp).on({})); }, ErrorCode::usage);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(CudaCommit, FailsOnAllRanksIfOneHasNoMemory) {
  test::fake_cuda().memory_bytes = std::size_t{1} << 20U;
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    static_cast<void>(commit(world, plan_of(2)));
    return std::string();
  });
  test::fake_cuda().memory_bytes = std::size_t{1} << 30U;
  expect_all(results, ErrorCode::out_of_memory, {"commit failed on rank"});
}

TEST(CudaCommit, NamesDevicesThatCannotReachEachOther) {
  test::fake_cuda().island_bit = 1;
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    static_cast<void>(commit(world, plan_of(2)));
    return std::string();
  });
  test::fake_cuda().island_bit = 0;
  expect_all(results, ErrorCode::unsupported, {});
}

}  // namespace
}  // namespace cohort
