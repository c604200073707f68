// Graphs with captured calls, over the fake of tests/support: what they own, and for how long.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "contract/graph_contract.hpp"
#include "session/cuda_ranks.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::FakeStream;
using test::RankMode;
using testing::HasSubstr;

constexpr SlotId kSlot{0};
constexpr std::uint32_t kLeases = 2;
constexpr std::size_t kElements = 600;

Plan plan_of(std::uint32_t tp, Memory memory = Memory::cuda) {
  Plan plan(Layout{{.tp = tp}}, {.memory = memory});
  static_cast<void>(plan.slot(
      "graph",
      {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 1, .leases = kLeases}));
  return plan;
}

contract::GraphRun run_over_fake(std::uint32_t replays) {
  return {.api = &test::fake_cuda_api(), .replays = replays};
}

using Replay = std::function<void()>;

/// A graph that sums the lease's entry in place, and owns it.
Replay capture(Session& session, FakeStream& stream, Lease&& lease) {
  const Tensor operand = lease.buffer().elements(kElements);
  stream.begin_capture();
  session.give_to_graph(std::move(lease), stream.handle());
  static_cast<void>(
      session.group(GroupKind::tp).on(stream.handle()).all_reduce(operand, ReduceOp::sum));
  return stream.end_capture();
}

void replay(Session& session, FakeStream& stream, const Replay& graph, float* data, float ones) {
  std::fill_n(data, kElements, ones);
  graph();
  session.wait(stream.handle());
  const auto wanted = ones * static_cast<float>(session.group(GroupKind::tp).size());
  EXPECT_EQ(std::count(data, data + kElements, wanted), std::ptrdiff_t{kElements});
}

std::string usage_of(const std::function<void()>& call) {
  return test::error_of(call, ErrorCode::usage);
}

class CudaGraph : public testing::TestWithParam<RankMode> {};

// Ranks take the entry again once the graphs of all of them are gone, which others destroy.
TEST_P(CudaGraph, OwnsItsLeaseUntilItIsGone) {
  const auto results = test::run_ranks(GetParam(), 3, [](World& world) {
    Session session = commit(world, plan_of(3));
    FakeStream stream;
    for (std::uint32_t turn = 0; turn < 6; ++turn) {
      Lease lease = session.lease(kSlot);
      auto* const data = lease.buffer().as<float>();
      Replay graph = capture(session, stream, std::move(lease));
      EXPECT_FALSE(lease.held());  // NOLINT(bugprone-use-after-move)
      { const Lease other = session.lease(kSlot); }
      replay(session, stream, graph, data, static_cast<float>(turn));
      std::atomic<bool> going = false;
      std::thread elsewhere([&, graph = std::move(graph)]() mutable {
        std::this_thread::sleep_for(1ms * ((world.rank().index() + turn) % 3));
        going = true;
        graph = nullptr;
      });
      const Lease again = session.lease(kSlot);
      EXPECT_TRUE(going);
      EXPECT_EQ(again.buffer().as<float>(), data);
      elsewhere.join();
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaGraph, ThatOutlivesItsSessionMayGoAtAnyTime) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    FakeStream stream;
    Replay graph;
    {
      Session session = commit(world, plan_of(2));
      Lease lease = session.lease(kSlot);
      auto* const data = lease.buffer().as<float>();
      graph = capture(session, stream, std::move(lease));
      replay(session, stream, graph, data, 1);
      session.close();
    }
    // Another session's leases are nothing to it.
    Session session = commit(world, plan_of(2));
    const Lease first = session.lease(kSlot);
    graph = nullptr;
    const Lease second = session.lease(kSlot);
    EXPECT_NE(first.buffer().data(), second.buffer().data());
    EXPECT_THAT(usage_of([&] { static_cast<void>(session.lease(kSlot)); }),
                HasSubstr("while it holds it"));
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaGraph, ThatIsNeverFinishedGivesItsLeaseBack) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    for (std::uint32_t turn = 0; turn < 2 * kLeases; ++turn) {
      FakeStream stream;
      stream.begin_capture();
      session.give_to_graph(session.lease(kSlot), stream.handle());
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaGraph, IsReplayedOnInputsOfEachTurnWhateverElseHappens) {
  test::expect_no_errors(test::run_ranks(GetParam(), 3, [](World& world) {
    return contract::replay_graphs(world, run_over_fake(100));
  }));
}

TEST_P(CudaGraph, IsReplayedTenThousandTimes) {
  test::expect_no_errors(test::run_ranks(GetParam(), 2, [](World& world) {
    return contract::replay_graphs(world, run_over_fake(10'000));
  }));
}

TEST_P(CudaGraph, GoesOnAfterARecommitThatKeepsItsChannel) {
  test::expect_no_errors(test::run_ranks(GetParam(), 2, [](World& world) {
    return contract::replay_on_changed_slot(world, run_over_fake(1));
  }));
}

/// All ranks end with the text of one that replayed it.
void expect_stale(const std::vector<test::RankResult>& results, const std::string& who) {
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::usage) << result.error->what();
    EXPECT_THAT(result.error->what(), HasSubstr(who + "replayed a graph with reduce_scatter(sum"));
    EXPECT_THAT(result.error->what(), HasSubstr("captured before a recommit replaced"));
  }
}

TEST_P(CudaGraph, ThatIsStaleEndsTheJob) {
  expect_stale(test::run_ranks(GetParam(), 2,
                               [](World& world) {
                                 return contract::replay_stale_graph(
                                     world, run_over_fake(1), [](WorldRank) { return true; });
                               }),
               " ");
}

TEST_P(CudaGraph, ThatIsStaleOnOneRankEndsTheJob) {
  expect_stale(test::run_ranks(GetParam(), 3,
                               [](World& world) {
                                 return contract::replay_stale_graph(
                                     world, run_over_fake(1),
                                     [](WorldRank rank) { return rank == WorldRank{1}; });
                               }),
               "rank 1 ");
}

TEST_P(CudaGraph, OfAGroupThatIsNoMoreEndsTheJob) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    const auto plan_with = [](std::vector<GroupKind> groups) {
      Plan plan = plan_of(2);
      static_cast<void>(plan.slot(
          "other", {.groups = std::move(groups), .rows_max = kElements, .row_elements = 1}));
      return plan;
    };
    Session session = commit(world, plan_with({GroupKind::attn, GroupKind::tp}));
    FakeStream stream;
    const Lease lease = session.lease(kSlot);
    std::vector<float> outside(10, 1.0F);
    stream.begin_capture();
    static_cast<void>(session.group(GroupKind::attn)
                          .on(stream.handle())
                          .all_reduce({outside.data(), outside.size(), DType::f32}, ReduceOp::sum));
    const Replay graph = stream.end_capture();
    graph();
    session.wait(stream.handle());
    EXPECT_EQ(outside[9], 2.0F);
    session.recommit(plan_with({GroupKind::tp}));
    graph();
    session.wait(stream.handle());
    return std::string("no fault");
  });
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::usage) << result.error->what();
    EXPECT_THAT(result.error->what(), HasSubstr("replayed a graph with a call on attn [0, 1]"));
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, CudaGraph, testing::Values(RankMode::threads, RankMode::processes),
                         [](const auto& mode) { return test::to_string(mode.param); });

TEST(CudaGraphs, ThatStayMakeWaitersTimeOut) {
  WaitLimits limits = test::patient_limits();
  limits.steady = 300ms;
  const auto results = test::run_ranks(
      RankMode::threads, 2,
      [](World& world) {
        FakeStream stream;
        Replay copy;
        Session session = commit(world, plan_of(2));
        {
          // A copy of a graph owns what the graph owned.
          const Replay graph = capture(session, stream, session.lease(kSlot));
          if (world.rank() == WorldRank{1}) copy = graph;
        }
        { const Lease other = session.lease(kSlot); }
        const Lease again = session.lease(kSlot);
        return std::string("no wait");
      },
      limits);
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::timeout) << result.error->what();
    EXPECT_THAT(result.error->what(), HasSubstr("lease 0 of slot 'graph', which "));
    EXPECT_THAT(result.error->what(), HasSubstr("rank 1 still holds"));
  }
}

TEST(CudaGraphs, AreNeededToOwnALease) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    FakeStream stream;
    Lease of_earlier;
    {
      Session session = commit(world, plan_of(2));
      of_earlier = session.lease(kSlot);
      session.close();
    }
    Session session = commit(world, plan_of(2));
    Lease lease = session.lease(kSlot);
    for (const Stream wrong : {Stream{}, stream.handle()}) {
      EXPECT_THAT(usage_of([&] { session.give_to_graph(std::move(lease), wrong); }),
                  HasSubstr("not being captured"));
      EXPECT_TRUE(lease.held());  // NOLINT(bugprone-use-after-move)
    }
    stream.begin_capture();
    EXPECT_THAT(usage_of([&] { session.give_to_graph(Lease(), stream.handle()); }),
                HasSubstr("was dropped"));
    EXPECT_THAT(usage_of([&] { session.give_to_graph(std::move(of_earlier), stream.handle()); }),
                HasSubstr("of another session"));
    static_cast<void>(stream.end_capture());
    // What was refused is held by this rank, and not by a graph.
    { const Lease other = session.lease(kSlot); }
    EXPECT_THAT(usage_of([&] { static_cast<void>(session.lease(kSlot)); }),
                HasSubstr("while it holds it"));
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(CudaGraphs, AreNotForHostMemory) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Session session = commit(world, plan_of(2, Memory::host));
    Lease lease = session.lease(kSlot);
    EXPECT_THAT(usage_of([&] { session.give_to_graph(std::move(lease), {}); }),
                HasSubstr("no graph captures them"));
    EXPECT_TRUE(lease.held());  // NOLINT(bugprone-use-after-move)
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

}  // namespace
}  // namespace cohort
