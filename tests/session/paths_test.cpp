// Tables and pins decide the path of every call: the same one on all ranks, with the same results,
// and verdict, `explain` and ledger say so.

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "contract/collective_contract.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using testing::HasSubstr;

constexpr std::size_t kInlineBytesMax = 16 * 1024;
constexpr std::size_t kElements = 16 * 1024;  // of f32: four times what may travel inline

Plan make_plan(std::uint32_t ranks, const PlanOptions& options) {
  Plan plan(Layout{{.tp = ranks}}, options);
  static_cast<void>(plan.slot(
      "data", {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 1, .depth = 2}));
  return plan;
}

std::vector<test::RankResult> run(std::uint32_t ranks, const PlanOptions& options,
                                  const std::function<void(Session&, Group, WorldRank)>& body) {
  return test::run_ranks(RankMode::threads, ranks, [&](World& world) {
    Session session = commit(world, make_plan(ranks, options));
    body(session, session.group(GroupKind::tp), world.rank());
    session.close();
    return std::string();
  });
}

void expect_all(const std::vector<test::RankResult>& results, ErrorCode code,
                const std::vector<std::string>& parts) {
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error.has_value());
    EXPECT_EQ(result.error->code(), code) << result.error->what();
    for (const std::string& part : parts) EXPECT_THAT(result.error->what(), HasSubstr(part));
  }
}

/// Sums `elements` twos, and checks result and verdict.
Verdict sum(Session& session, Group group, std::size_t elements) {
  const Buffer buffer = session.take(SlotId{0});
  std::fill_n(buffer.as<float>(), elements, 2.0F);
  const Verdict verdict = group.all_reduce(buffer.elements(elements), ReduceOp::sum);
  const auto wanted = static_cast<float>(2 * group.size());
  EXPECT_EQ(std::count(buffer.as<float>(), buffer.as<float>() + elements, wanted),
            static_cast<std::ptrdiff_t>(elements));
  const PathChoice choice =
      session.explain(GroupKind::tp, Op::all_reduce, DType::f32, elements * sizeof(float));
  EXPECT_EQ(verdict.path, choice.path);
  EXPECT_EQ(verdict.reason, choice.reason);
  return verdict;
}

class PinnedPath : public testing::TestWithParam<std::tuple<Path, RankMode>> {};

TEST_P(PinnedPath, HoldsTheContractOfAllCollectives) {
  const auto [path, mode] = GetParam();
  const Layout layout{{.tp = 3}};
  const auto results = test::run_ranks(mode, 3, [&, pin = path](World& world) {
    Session session =
        commit(world, contract::collective_plan(layout, {.path_table = PathTable::pinned(pin)}));
    contract::check_collectives(session, world.rank(), 20260202);
    for (const LedgerRow& row : session.ledger()) {
      if (row.path == Path::local) continue;  // groups of one rank
      if (row.path != pin) {
        EXPECT_EQ(pin, Path::host_inline);
        EXPECT_EQ(row.path, Path::host_direct);
        EXPECT_NE(row.reason, Reason::ok);
      }
      // What lies outside the arena is staged within its rank, whatever the path.
      const bool stray = row.reason == Reason::operand_not_in_heap;
      if (stray) {
        EXPECT_EQ(row.path, Path::host_direct);
      } else {
        EXPECT_EQ(row.reason, row.path == pin ? Reason::ok : Reason::over_inline_limit);
      }
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Paths, PinnedPath,
                         testing::Combine(testing::Values(Path::host_inline, Path::host_direct,
                                                          Path::host_staged),
                                          testing::Values(RankMode::threads, RankMode::processes)),
                         [](const auto& param) {
                           return std::string(to_string(std::get<0>(param.param))) + "_" +
                                  test::to_string(std::get<1>(param.param));
                         });

TEST(PathTables, VerdictExplainAndLedgerNameThePinnedPath) {
  for (const Path pin : {Path::host_inline, Path::host_direct, Path::host_staged}) {
    const auto results =
        run(3, {.path_table = PathTable::pinned(pin)}, [&](Session& session, Group tp, WorldRank) {
          const Verdict small = sum(session, tp, 16);
          EXPECT_EQ(small.path, pin);
          EXPECT_EQ(small.copied_bytes, pin == Path::host_staged ? 64U : 0U);
          const Verdict large = sum(session, tp, kElements);
          EXPECT_EQ(large.path, pin == Path::host_inline ? Path::host_direct : pin);
          EXPECT_EQ(large.reason,
                    pin == Path::host_inline ? Reason::over_inline_limit : Reason::ok);
          std::uint64_t calls = 0;
          for (const LedgerRow& row : session.ledger()) {
            calls += row.path == small.path || row.path == large.path ? row.calls : 100;
          }
          EXPECT_EQ(calls, 2U);
        });
    test::expect_no_errors(results);
  }
}

TEST(PathTables, MessagesTakeThePinnedPathOnBothEnds) {
  for (const Path pin : {Path::host_inline, Path::host_direct, Path::host_staged}) {
    const auto results = test::run_ranks(RankMode::threads, 2, [&](World& world) {
      Plan plan = make_plan(2, {.path_table = PathTable::pinned(pin)});
      plan.send_recv(GroupKind::tp);
      Session session = commit(world, plan);
      const Group tp = session.group(GroupKind::tp);
      const bool sends = world.rank() == WorldRank{0};
      const GroupRank peer{sends ? 1U : 0U};
      for (const std::size_t elements : {0UL, 1UL, 4096UL, 4097UL, 9000UL}) {
        const Buffer buffer = session.take(SlotId{0});
        std::fill_n(buffer.as<float>(), elements, sends ? 3.0F : 0.0F);
        const Verdict verdict = sends ? tp.send(buffer.elements(elements), peer)
                                      : tp.recv(buffer.elements(elements), peer);
        EXPECT_EQ(std::count(buffer.as<float>(), buffer.as<float>() + elements, 3.0F),
                  static_cast<std::ptrdiff_t>(elements));
        const bool over = pin == Path::host_inline && elements * sizeof(float) > kInlineBytesMax;
        EXPECT_EQ(verdict.path, over ? Path::host_direct : pin);
        EXPECT_EQ(verdict.reason, over ? Reason::over_inline_limit : Reason::ok);
      }
      session.close();
      return std::string();
    });
    test::expect_no_errors(results);
  }
}

std::vector<PathStep> random_steps(std::mt19937& random) {
  std::vector<PathStep> steps;
  std::size_t bytes = 0;
  for (unsigned i = random() % 4; i > 0; --i) {
    bytes += 1 + random() % (kElements * 2);
    const Path path = static_cast<Path>(random() % 3 + 1);
    steps.push_back(
        {path == Path::host_inline && bytes > kInlineBytesMax ? Path::host_staged : path, bytes});
  }
  steps.push_back({random() % 2 == 0 ? Path::host_direct : Path::host_staged});
  return steps;
}

TEST(PathTables, AnyTableGivesTheSamePathAndResultOnAllRanksForEverySize) {
  for (std::uint32_t seed = 0; seed < 8; ++seed) {
    std::mt19937 random(seed);
    std::vector<PathRow> rows;
    for (const std::uint32_t ranks : {2U, 4U}) {
      rows.push_back({Op::all_reduce, ranks, random() % 2 == 0, random_steps(random)});
    }
    const PathTable table(rows, {"some CPU", 1, 1}, "1");
    const std::uint32_t ranks = 2 + seed % 4;
    std::vector<std::size_t> sizes = {0, 1, 2, 3, kInlineBytesMax / 4, kInlineBytesMax / 4 + 1};
    for (int i = 0; i < 40; ++i) sizes.push_back(random() % kElements);
    for (const PathRow& row : rows) {
      for (const PathStep& step : row.steps) {
        if (step.bytes_max / 4 + 1 > kElements) continue;
        sizes.push_back(step.bytes_max / 4);
        sizes.push_back(step.bytes_max / 4 + 1);
      }
    }
    std::vector<std::vector<Path>> paths(ranks);
    test::expect_no_errors(
        run(ranks, {.path_table = table}, [&](Session& session, Group tp, WorldRank rank) {
          for (const std::size_t elements : sizes) {
            paths[rank.index()].push_back(sum(session, tp, elements).path);
          }
        }));
    for (const auto& of_rank : paths) EXPECT_EQ(of_rank, paths.front());
  }
}

TEST(PathTables, RanksWithDifferentTablesDoNotCommitAndTheErrorSaysWhoHasWhat) {
  const auto disagree = [](const PathTable& odd, const PathTable& common) {
    return test::run_ranks(RankMode::threads, 3, [&](World& world) {
      const PathTable& table = world.rank() == WorldRank{1} ? odd : common;
      Session session = commit(world, make_plan(3, {.path_table = table}));
      return std::string();
    });
  };
  expect_all(disagree(PathTable::pinned(Path::host_staged), {}), ErrorCode::mismatch,
             {"rank 1 declared [paths: pinned to host_staged]",
              "ranks 0, 2 declared [paths: built-in table]"});
  const auto measured = [](std::size_t limit) {
    return PathTable(
        {{Op::all_gather, 2, false, {{Path::host_inline, limit}, {Path::host_direct}}}},
        {"some CPU", 1, 1}, "1");
  };
  expect_all(disagree(measured(512), measured(1024)), ErrorCode::mismatch,
             {"rank 1 declared [path of all_gather, 2 ranks: host_inline to 512 bytes",
              "ranks 0, 2 declared [path of all_gather, 2 ranks: host_inline to 1024 bytes"});
}

TEST(PathTables, StrictAllowsNoStagingEvenWhereATableAsksForIt) {
  expect_all(run(2, {.strict = true, .path_table = PathTable::pinned(Path::host_staged)},
                 [](Session&, Group, WorldRank) { ADD_FAILURE() << "committed"; }),
             ErrorCode::strict_miss, {"host_staged", "pinned", "no copies"});
  const PathTable table(
      {{Op::all_reduce, 2, false, {{Path::host_direct, 64}, {Path::host_staged}}}},
      {"some CPU", 1, 1}, "1");
  expect_all(run(2, {.strict = true, .path_table = table},
                 [](Session& session, Group tp, WorldRank) {
                   EXPECT_EQ(sum(session, tp, 16).path, Path::host_direct);
                   static_cast<void>(sum(session, tp, 17));
                 }),
             ErrorCode::strict_miss, {"all_reduce", "host_staged", "strict mode allows no copies"});
}

TEST(PathTables, StrictHoldsAnInlinePinToItsLimit) {
  expect_all(run(2, {.strict = true, .path_table = PathTable::pinned(Path::host_inline)},
                 [](Session& session, Group tp, WorldRank) {
                   EXPECT_EQ(sum(session, tp, kInlineBytesMax / 4).path, Path::host_inline);
                   static_cast<void>(sum(session, tp, kInlineBytesMax / 4 + 1));
                 }),
             ErrorCode::strict_miss, {"over_inline_limit", "host_direct"});
}

}  // namespace
}  // namespace cohort
