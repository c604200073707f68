// A session that was asked to records its calls: what the ledger counts, one by one.

#include "collectives/timeline.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/session.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

using collectives::RecordCalls;
using collectives::RecordedCall;
using collectives::Timeline;

Plan plan_of(std::uint32_t ranks, bool with_more) {
  Plan plan(Layout{{.tp = ranks}});
  static_cast<void>(
      plan.slot("rows", {.groups = {GroupKind::tp}, .rows_max = 4096, .row_elements = 1}));
  if (with_more) {
    static_cast<void>(
        plan.slot("more", {.groups = {GroupKind::tp}, .rows_max = 16, .row_elements = 1}));
  }
  return plan;
}

void call_once(Session& session, std::size_t elements) {
  const Group tp = session.group(GroupKind::tp);
  const Tensor rows = session.take(SlotId{0}).elements(elements);
  static_cast<void>(tp.all_reduce(rows, ReduceOp::sum));
  static_cast<void>(tp.barrier());
}

void expect_as_in_ledger(const Session& session, const Timeline& timeline) {
  for (const LedgerRow& row : session.ledger()) {
    LedgerRow seen;
    for (const RecordedCall& call : timeline.calls()) {
      const bool same = call.group == row.group && call.op == row.op && call.path == row.path &&
                        call.reason == row.reason;
      if (!same) continue;
      ++seen.calls;
      seen.bytes += call.bytes;
      seen.copied_bytes += call.copied_bytes;
      EXPECT_LE(call.wait_ticks, call.total_ticks);
    }
    EXPECT_EQ(seen.calls, row.calls);
    EXPECT_EQ(seen.bytes, row.bytes);
    EXPECT_EQ(seen.copied_bytes, row.copied_bytes);
  }
}

TEST(SessionTimeline, RecordsWhatTheLedgerCounts) {
  for (const std::uint32_t ranks : {1U, 3U}) {
    const auto results = test::run_ranks(test::RankMode::threads, ranks, [&](World& world) {
      Timeline timeline;
      std::optional<RecordCalls> recording(timeline);
      Session session = commit(world, plan_of(ranks, false));
      recording.reset();
      EXPECT_TRUE(timeline.calls().empty()) << "what commit proves is no call of the user's";
      for (const std::size_t elements : {4U, 4096U, 0U}) call_once(session, elements);
      EXPECT_EQ(timeline.calls().size(), 6U);
      expect_as_in_ledger(session, timeline);
      std::uint64_t end_ticks = 0;
      for (const RecordedCall& call : timeline.calls()) {
        EXPECT_GE(call.begin_ticks, end_ticks) << "one thread makes one call after the other";
        end_ticks = call.begin_ticks + call.total_ticks;
      }
      session.close();
      return std::string();
    });
    test::expect_no_errors(results);
  }
}

TEST(SessionTimeline, GoesOnAfterARecommit) {
  const auto results = test::run_ranks(test::RankMode::threads, 2, [](World& world) {
    Timeline timeline;
    std::optional<RecordCalls> recording(timeline);
    Session session = commit(world, plan_of(2, false));
    recording.reset();
    call_once(session, 4);
    session.recommit(plan_of(2, true));
    call_once(session, 4);
    EXPECT_EQ(timeline.calls().size(), 4U);
    expect_as_in_ledger(session, timeline);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(SessionTimeline, KeepsSessionsApart) {
  const auto results = test::run_ranks(test::RankMode::threads, 2, [](World& world) {
    Timeline timeline;
    std::optional<RecordCalls> recording(timeline);
    Session first = commit(world, plan_of(2, false));
    call_once(first, 4);
    Session second = commit(world, plan_of(2, false));
    call_once(second, 8);
    // Inside of the recording, and still the first session.
    first.recommit(plan_of(2, true));
    recording.reset();
    call_once(first, 16);
    Session unrecorded = commit(world, plan_of(2, false));
    call_once(unrecorded, 32);
    std::vector<std::uint32_t> sessions;
    std::vector<std::uint64_t> bytes;
    for (const RecordedCall& call : timeline.calls()) {
      sessions.push_back(call.session);
      if (call.op == Op::all_reduce) bytes.push_back(call.bytes);
    }
    EXPECT_THAT(sessions, testing::ElementsAre(0, 0, 1, 1, 0, 0));
    const std::uint64_t element = bytes_of(DType::f32);
    EXPECT_THAT(bytes, testing::ElementsAre(4 * element, 8 * element, 16 * element));
    unrecorded.close();
    second.close();
    first.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(SessionTimeline, IsOffUnlessAskedFor) {
  const auto results = test::run_ranks(test::RankMode::threads, 2, [](World& world) {
    Timeline timeline;
    { const RecordCalls over_at_once(timeline); }
    Session session = commit(world, plan_of(2, false));
    call_once(session, 4);
    EXPECT_TRUE(timeline.calls().empty());
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

}  // namespace
}  // namespace cohort
