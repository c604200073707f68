// How communicators begin, go on through graphs and recommits, and end, over the fakes.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "session/cuda_nccl.hpp"
#include "support/meet.hpp"

namespace cohort {
namespace {

using test::expect_all;
using test::FakeNcclFaults;
using test::FakeStream;
using test::kElements;
using test::kNcclSymmetric;
using test::meet;
using test::nccl_options;
using test::nccl_plan;
using test::on_all;
using test::on_rank_1;
using test::run_over_nccl;
using test::sum_of_ones;
using testing::HasSubstr;

TEST(NcclSession, ReplaysGraphsAndCountsThem) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
    FakeStream stream;
    const Buffer buffer = session.take(SlotId{0});
    stream.begin_capture();
    EXPECT_EQ(session.group(GroupKind::tp)
                  .on(stream.handle())
                  .all_reduce(buffer.elements(600), ReduceOp::sum),
              kNcclSymmetric);
    const auto replay = stream.end_capture();
    for (int turn = 1; turn <= 5; ++turn) {
      std::fill_n(buffer.as<float>(), 600, static_cast<float>(turn));
      replay();
      session.wait(stream.handle());
      EXPECT_EQ(buffer.as<float>()[599], static_cast<float>(2 * turn));
    }
    const std::vector<LedgerRow> rows = session.ledger();
    EXPECT_EQ(rows.size(), 1U);
    for (const LedgerRow& row : rows) {
      EXPECT_EQ(row.path, Path::nccl_symmetric);
      EXPECT_EQ(row.calls, 5U);
      EXPECT_EQ(row.bytes, 5U * 2400);
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclSession, ShowsNcclWhatARecommitAdds) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
    Plan next = session.plan();
    const SlotId late =
        next.slot("late", {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 512});
    session.recommit(next);
    EXPECT_EQ(sum_of_ones(session), kNcclSymmetric);
    const Buffer buffer = session.take(late);
    std::fill_n(buffer.as<float>(), 4096, 1.0F);
    EXPECT_EQ(session.group(GroupKind::tp).all_reduce(buffer.elements(4096), ReduceOp::sum),
              kNcclSymmetric);
    session.wait({});
    EXPECT_EQ(buffer.as<float>()[4095], 2.0F);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
  const auto counts = test::fake_nccl_counts();
  EXPECT_EQ(counts.joined, 2U);
  EXPECT_EQ(counts.destroyed, 2U);
  EXPECT_EQ(counts.windows, 0U);
}

TEST(NcclSession, TellsAllRanksIfNcclDoesNotTakeTheNewMemory) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
    FakeNcclFaults faults;
    faults.fails_to_register = world.rank() == WorldRank{1};
    test::set_fake_nccl_faults(faults);
    Plan next = session.plan();
    static_cast<void>(
        next.slot("late", {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 512}));
    try {
      session.recommit(next);
      ADD_FAILURE() << "the recommit went through";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::nccl) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("on rank 1"));
      EXPECT_THAT(error.what(), HasSubstr("fake NCCL: no socket"));
    }
    meet(world);
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclSession, HasACommunicatorForEachGroupAndLane) {
  const auto results = run_over_nccl(4, [](World& world) {
    PlanOptions options = nccl_options(Path::nccl_plain);
    options.lanes = 2;
    Plan plan(Layout{{.tp = 4, .attn_dp = 2}}, options);
    static_cast<void>(plan.slot(
        "x",
        {.groups = {GroupKind::tp, GroupKind::attn_tp}, .rows_max = kElements, .row_elements = 1}));
    Session session = commit(world, plan);
    for (const std::uint32_t lane : {0U, 1U}) {
      const Buffer buffer = session.take(SlotId{0});
      std::fill_n(buffer.as<float>(), 100, 1.0F);
      const Group group = session.group(GroupKind::attn_tp);
      EXPECT_EQ(group.all_reduce(buffer.elements(100), ReduceOp::sum, Lane{lane}), kNcclSymmetric);
      session.wait({});
      EXPECT_EQ(buffer.as<float>()[99], 2.0F);
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().joined, 4U * 2U * 2U);
  EXPECT_EQ(test::fake_nccl_counts().destroyed, 4U * 2U * 2U);
}

TEST(NcclSession, IsRefusedWhereARankHasNoNccl) {
  FakeNcclFaults missing;
  missing.missing = "libnccl.so.2: no such file";
  const auto body = [](World& world) {
    static_cast<void>(commit(world, nccl_plan(nccl_options(Path::nccl_plain))));
    return std::string();
  };
  expect_all(run_over_nccl(2, body, on_rank_1(missing)), ErrorCode::unsupported,
             {"the plan asks for NCCL", "rank 1: libnccl.so.2: no such file"});
  FakeNcclFaults older;
  older.version = 22'700;
  expect_all(run_over_nccl(2, body, on_all(older)), ErrorCode::unsupported, {"NCCL before 2.28.3"});
}

TEST(NcclSession, FailsOnAllRanksIfOneCannotConnectOrRegister) {
  FakeNcclFaults join;
  join.fails_to_join = true;
  FakeNcclFaults registration;
  registration.fails_to_register = true;
  for (const FakeNcclFaults& faults : {join, registration}) {
    const auto results = run_over_nccl(
        2,
        [](World& world) {
          static_cast<void>(commit(world, nccl_plan(nccl_options(Path::nccl_plain))));
          return std::string();
        },
        on_rank_1(faults));
    expect_all(results, ErrorCode::nccl, {"on rank 1", "fake NCCL: no socket"});
    EXPECT_EQ(test::fake_nccl_counts().aborted, 2U);
  }
}

TEST(NcclSession, AbortsWhatIsNotClosed) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
    EXPECT_EQ(sum_of_ones(session), kNcclSymmetric);
    meet(world);
    return std::string();
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().aborted, 2U);
  EXPECT_EQ(test::fake_nccl_counts().windows, 0U);
}

}  // namespace
}  // namespace cohort
