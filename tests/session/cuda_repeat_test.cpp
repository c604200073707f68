// Calls on GPU memory that equal earlier ones: they take a short cut, which must not show.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "session/device_api.hpp"
#include "support/fake_cuda.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::FakeStream;
using test::RankMode;
using testing::HasSubstr;

constexpr std::size_t kElements = 4096;

class CudaRepeat : public testing::Test {
 protected:
  CudaRepeat() { set_device_api(&test::fake_cuda_api()); }

  static void run(const test::RankBody& body) {
    test::expect_no_errors(test::run_ranks(RankMode::threads, 2, body));
  }
};

Plan plan_of(std::size_t elements = kElements) {
  Plan plan(Layout{{.tp = 2}}, {.memory = Memory::cuda});
  static_cast<void>(plan.slot(
      "x", {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 1, .depth = 2}));
  static_cast<void>(
      plan.slot("later", {.groups = {GroupKind::tp}, .rows_max = elements, .row_elements = 1}));
  static_cast<void>(
      plan.pool("pool", {.groups = {GroupKind::tp}, .bytes = 8192, .block_bytes_max = 8192}));
  return plan;
}

void expect_sum_of_ones(Session& session, Tensor operand, Stream stream = {}) {
  auto* const values = static_cast<float*>(operand.data);
  std::fill_n(values, operand.elements, 1.0F);
  static_cast<void>(session.group(GroupKind::tp).on(stream).all_reduce(operand, ReduceOp::sum));
  session.wait(stream);
  EXPECT_EQ(values[0], 2.0F);
  EXPECT_EQ(values[operand.elements - 1], 2.0F);
}

std::string refusal_of(Session& session, Tensor operand) {
  try {
    static_cast<void>(session.group(GroupKind::tp).all_reduce(operand, ReduceOp::sum));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return {};
}

std::uint64_t calls_in_ledger(const Session& session) {
  std::uint64_t calls = 0;
  for (const LedgerRow& row : session.ledger()) calls += row.calls;
  return calls;
}

TEST_F(CudaRepeat, GivesTheSameResultsAndCounts) {
  run([](World& world) {
    Session session = commit(world, plan_of());
    FakeStream other;
    for (int turn = 0; turn < 20; ++turn) {
      const Buffer buffer = session.take(SlotId{0});  // two entries in turn
      expect_sum_of_ones(session, buffer.elements(100), turn % 3 == 0 ? other.handle() : Stream{});
      expect_sum_of_ones(session, buffer.elements(kElements));
    }
    EXPECT_EQ(calls_in_ledger(session), 40U);
    session.close();
    return std::string();
  });
}

TEST_F(CudaRepeat, TakesCountsAsTheyAreNow) {
  run([](World& world) {
    Session session = commit(world, plan_of());
    const Group tp = session.group(GroupKind::tp);
    const std::uint32_t self = world.rank().index();
    const Buffer part = session.take(SlotId{1});
    const Buffer whole = session.take(SlotId{0});
    std::vector<std::size_t> counts(2);
    for (int turn = 0; turn < 12; ++turn) {
      counts[1] = turn % 4 < 2 ? 100 : 50;
      counts[0] = 150 - counts[1] + (turn % 3 == 0 ? 0 : 1);
      const float value = static_cast<float>(turn + 10 * static_cast<int>(self));
      std::fill_n(part.as<float>(), counts[self], value);
      const std::size_t total = counts[0] + counts[1];
      static_cast<void>(tp.all_gatherv(part.elements(counts[self]), whole.elements(total), counts));
      session.wait({});
      EXPECT_EQ(whole.as<float>()[counts[0] - 1], static_cast<float>(turn));
      EXPECT_EQ(whole.as<float>()[counts[0]], static_cast<float>(turn + 10));
      EXPECT_EQ(whole.as<float>()[total - 1], static_cast<float>(turn + 10));
    }
    session.close();
    return std::string();
  });
}

TEST_F(CudaRepeat, RefusesWhatNoLiveBlockHoldsAnyMore) {
  run([](World& world) {
    Session session = commit(world, plan_of());
    std::optional<Scope> scope(session.scope(GroupKind::tp));
    const Tensor operand = scope->allocate(DType::f32, 1000, 1).rows(0, 1000);
    expect_sum_of_ones(session, operand);
    expect_sum_of_ones(session, operand);
    // Blocks that come and go elsewhere do no harm.
    scope->release(scope->allocate(DType::f32, 10, 1));
    expect_sum_of_ones(session, operand);
    scope.reset();
    EXPECT_THAT(refusal_of(session, operand), HasSubstr("in bytes that no live block holds"));
    EXPECT_THAT(refusal_of(session, operand), HasSubstr("in bytes that no live block holds"));
    Scope again = session.scope(GroupKind::tp);
    const Tensor smaller = again.allocate(DType::f32, 500, 1).rows(0, 500);
    EXPECT_EQ(smaller.data, operand.data);
    EXPECT_THAT(refusal_of(session, operand), HasSubstr("input runs past the end of a block"));
    expect_sum_of_ones(session, smaller);
    session.close();
    return std::string();
  });
}

TEST_F(CudaRepeat, CountsNoCallsOfGraphsAsLaunched) {
  run([](World& world) {
    Session session = commit(world, plan_of());
    const Tensor operand = session.take(SlotId{0}).elements(100);
    expect_sum_of_ones(session, operand);
    FakeStream stream;
    stream.begin_capture();
    static_cast<void>(
        session.group(GroupKind::tp).on(stream.handle()).all_reduce(operand, ReduceOp::sum));
    const auto replay = stream.end_capture();
    session.recommit(plan_of(2 * kElements));  // would wait for a call that nobody has begun
    expect_sum_of_ones(session, session.take(SlotId{0}).elements(100));
    session.close();
    return std::string();
  });
}

TEST_F(CudaRepeat, CallsReplayedAndRepeatedMeetInOrder) {
  run([](World& world) {
    Session session = commit(world, plan_of());
    const Tensor operand = session.take(SlotId{0}).elements(100);
    expect_sum_of_ones(session, operand);
    FakeStream stream;
    stream.begin_capture();
    static_cast<void>(
        session.group(GroupKind::tp).on(stream.handle()).all_reduce(operand, ReduceOp::sum));
    const auto replay = stream.end_capture();
    for (int turn = 0; turn < 5; ++turn) {
      expect_sum_of_ones(session, operand);
      replay();
      EXPECT_EQ(static_cast<float*>(operand.data)[99], 4.0F);
    }
    EXPECT_EQ(calls_in_ledger(session), 11U);
    session.close();
    return std::string();
  });
}

TEST_F(CudaRepeat, PrintsBothSidesOfAMismatch) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Session session = commit(world, plan_of());
    const Buffer buffer = session.take(SlotId{0});
    for (int turn = 0; turn < 50; ++turn) {
      expect_sum_of_ones(session, buffer.elements(100));
      expect_sum_of_ones(session, buffer.elements(200));
    }
    const std::size_t elements = world.rank().index() == 0 ? 100 : 200;
    static_cast<void>(
        session.group(GroupKind::tp).all_reduce(buffer.elements(elements), ReduceOp::sum));
    session.wait({});
    return std::string();
  });
  for (const auto& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::mismatch);
    EXPECT_THAT(result.error->what(), HasSubstr("rank 0 made all_reduce(sum, f32, 400 bytes"));
    EXPECT_THAT(result.error->what(), HasSubstr("rank 1 made all_reduce(sum, f32, 800 bytes"));
  }
}

}  // namespace
}  // namespace cohort
