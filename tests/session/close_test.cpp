// What `close` says of messages that nobody has received.

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using testing::HasSubstr;
using testing::Not;

constexpr std::size_t kElements = 6'000;  // read where it lies
constexpr SlotId kRows{0};

Plan plan_of(const Layout& layout, bool messages = true) {
  Plan plan(layout, {.lanes = 2});
  static_cast<void>(plan.slot("rows", {.groups = {GroupKind::tp, GroupKind::attn_cp},
                                       .dtype = DType::i32,
                                       .rows_max = kElements,
                                       .row_elements = 1,
                                       .depth = 4}));
  static_cast<void>(plan.slot("attn_cp_only", {.groups = {GroupKind::attn_cp},
                                               .dtype = DType::i32,
                                               .rows_max = kElements,
                                               .row_elements = 1}));
  if (messages) plan.send_recv(GroupKind::tp);
  return plan;
}

/// What closing throws; "closed" if it does not.
std::string closing(Session& session) {
  try {
    session.close();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    EXPECT_EQ(error.phase(), "close");
    return error.what();
  }
  return "closed";
}

/// The world is as good as new.
void check_another_session(World& world, const Layout& layout) {
  Session session = commit(world, plan_of(layout));
  const Group tp = session.group(GroupKind::tp);
  const Tensor ones = session.take(kRows).elements(kElements);
  std::fill_n(static_cast<std::int32_t*>(ones.data), kElements, 1);
  static_cast<void>(tp.all_reduce(ones, ReduceOp::sum));
  EXPECT_EQ(static_cast<std::int32_t*>(ones.data)[kElements - 1],
            static_cast<std::int32_t>(tp.size()));
  session.close();
}

void check_lost_messages(RankMode mode) {
  const auto results = test::run_ranks(mode, 3, [](World& world) {
    const Layout layout({.tp = 3});
    const std::uint32_t rank = world.rank().index();
    Session session = commit(world, plan_of(layout));
    const Group tp = session.group(GroupKind::tp);
    const Tensor all = session.take(kRows).elements(kElements);
    const Tensor few = session.take(kRows).elements(3);
    // Rank 1 receives the first of three of rank 0; rank 2 nothing of rank 1.
    if (rank == 0) {
      for (int i = 0; i < 3; ++i) static_cast<void>(tp.send(all, GroupRank{1}, Lane{1}));
    } else if (rank == 1) {
      static_cast<void>(tp.send(few, GroupRank{2}));
      static_cast<void>(tp.recv(all, GroupRank{0}, Lane{1}));
    }
    std::string text = closing(session);
    EXPECT_EQ(closing(session), "closed") << "it is closed";
    check_another_session(world, layout);
    return text;
  });
  test::expect_no_errors(results);
  for (const test::RankResult& result : results) {
    EXPECT_EQ(result.output, results.front().output);
    EXPECT_THAT(result.output, HasSubstr("rank 1 has not received messages 2 to 3 from rank 0 on "
                                         "tp [0, 1, 2] lane 1"));
    EXPECT_THAT(result.output, HasSubstr("rank 2 has not received message 1 from rank 1 on tp "
                                         "[0, 1, 2] lane 0"));
    EXPECT_THAT(result.output, HasSubstr("close after the last recv"));
  }
}

TEST(Close, TellsEveryRankOfMessagesThatNobodyReceived) {
  check_lost_messages(RankMode::threads);
}

TEST(Close, TellsEveryProcessOfMessagesThatNobodyReceived) {
  check_lost_messages(RankMode::processes);
}

TEST(Close, TellsOfARefusalThatItsSenderDoesNotKnowOf) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Session session = commit(world, plan_of(Layout({.tp = 2})));
    const Group tp = session.group(GroupKind::tp);
    if (world.rank() == WorldRank{0}) {
      static_cast<void>(tp.send(session.take(kRows).elements(5), GroupRank{1}));
    } else {
      const Tensor wrong = session.take(SlotId{1}).elements(5);
      EXPECT_THROW(static_cast<void>(tp.recv(wrong, GroupRank{0})), Error);
    }
    return closing(session);
  });
  test::expect_no_errors(results);
  for (const test::RankResult& result : results) {
    EXPECT_THAT(result.output, HasSubstr("rank 1 refused message 1 from rank 0: "));
    EXPECT_THAT(result.output, HasSubstr("slot 'attn_cp_only', which is not planned for group tp"));
    EXPECT_THAT(result.output, Not(HasSubstr("not received message")));
  }
}

TEST(Close, SaysNothingWhereAllIsReceived) {
  for (const bool messages : {true, false}) {
    const auto results = test::run_ranks(RankMode::threads, 3, [&](World& world) {
      Session session = commit(world, plan_of(Layout({.tp = 3}), messages));
      const Group tp = session.group(GroupKind::tp);
      const std::uint32_t rank = world.rank().index();
      if (messages) {
        static_cast<void>(tp.send(session.take(kRows).elements(9), GroupRank{(rank + 1) % 3}));
        static_cast<void>(tp.recv(session.take(kRows).elements(9), GroupRank{(rank + 2) % 3}));
      }
      return closing(session);
    });
    test::expect_no_errors(results);
    for (const test::RankResult& result : results) EXPECT_EQ(result.output, "closed");
  }
}

}  // namespace
}  // namespace cohort
