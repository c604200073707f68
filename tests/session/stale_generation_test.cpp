// One rank that still goes by the plan before a recommit.

#include <array>
#include <functional>
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

constexpr std::array<std::size_t, 2> kSizes = {5, 6'000};  // through both paths
constexpr SlotId kChanged{0};
constexpr SlotId kKept{1};
constexpr std::uint32_t kRanks = 3;

SlotSpec spec_of(std::size_t rows, std::vector<GroupKind> groups = {GroupKind::tp}) {
  return {.groups = std::move(groups),
          .dtype = DType::i32,
          .rows_max = rows,
          .row_elements = 1,
          .depth = 2};
}

Plan plan_of(bool changed, const PlanOptions& options = {}) {
  Plan plan(Layout({.tp = kRanks}), options);
  static_cast<void>(plan.slot("rows", spec_of(changed ? 9'000 : 7'000)));
  std::vector<GroupKind> groups = {GroupKind::tp};
  if (!changed) groups.push_back(GroupKind::attn);
  static_cast<void>(plan.slot("kept", spec_of(7'000)));
  static_cast<void>(plan.slot("of attn at first", spec_of(10, groups)));
  static_cast<void>(plan.pool("blocks", {.groups = {GroupKind::tp},
                                         .bytes = (changed ? 128U : 64U) << 10U,
                                         .block_bytes_max = 32U << 10U}));
  plan.send_recv(GroupKind::tp);
  return plan;
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    return error.what();
  }
  return "no refusal";
}

void use(Session& session, const Group& tp) {
  for (const std::size_t elements : kSizes) {
    const Tensor rows = session.take(kChanged).elements(elements);
    std::fill_n(static_cast<std::int32_t*>(rows.data), elements, 2);
    static_cast<void>(tp.all_reduce(rows, ReduceOp::sum));
    EXPECT_EQ(static_cast<std::int32_t*>(rows.data)[elements - 1],
              2 * static_cast<std::int32_t>(tp.size()));
  }
}

/// What rank 1 held of the plan before, the others have taken anew.
std::string use_stale(World& world, const PlanOptions& options) {
  Session session = commit(world, plan_of(false, options));
  const Group tp = session.group(GroupKind::tp);
  const Buffer held = session.take(kChanged);
  const Buffer kept = session.take(kKept);
  const void* block = nullptr;
  {
    Scope scope = session.scope(GroupKind::tp);
    block = scope.allocate(DType::i32, 6'000, 1).rows(0, 0).data;
  }
  session.recommit(plan_of(true, options));
  use(session, tp);

  const bool stale = world.rank() == WorldRank{1};
  std::string texts;
  for (const std::size_t elements : kSizes) {
    const Buffer taken = session.take(kChanged);
    const Tensor operand = (stale ? held : taken).elements(elements);
    texts += refusal([&] { static_cast<void>(tp.all_reduce(operand, ReduceOp::sum)); }) + "\n";
    const Tensor of_pool{const_cast<void*>(block), elements, DType::i32};
    texts +=
        refusal([&] {
          static_cast<void>(tp.broadcast(stale ? of_pool : taken.elements(elements), GroupRank{0}));
        }) +
        "\n";
    use(session, tp);
    // What has not changed serves on.
    std::fill_n(kept.as<std::int32_t>(), elements, 1);
    const Verdict verdict = tp.all_reduce(kept.elements(elements), ReduceOp::sum);
    EXPECT_EQ(verdict.copied_bytes > 0, options.symmetry == Symmetry::off);
    EXPECT_EQ(kept.as<std::int32_t>()[elements - 1], static_cast<std::int32_t>(kRanks));
  }
  session.close();
  return texts;
}

using Setting = std::tuple<RankMode, Symmetry>;
class StaleGeneration : public testing::TestWithParam<Setting> {};

TEST_P(StaleGeneration, OperandsAreRefusedOnAllRanksAndTheSessionLivesOn) {
  const auto [mode, symmetry] = GetParam();
  const PlanOptions options{.symmetry = symmetry};
  const auto results =
      test::run_ranks(mode, kRanks, [&](World& world) { return use_stale(world, options); });
  test::expect_no_errors(results);
  for (const test::RankResult& result : results) {
    for (const char* part :
         {"rank 1 refused all_reduce(sum, i32, 20 bytes",
          "rank 1 refused all_reduce(sum, i32, 24000 bytes",
          "input lies where 'rows' lay before a recommit changed it; take or allocate it again",
          "rank 1 refused broadcast(root 0, i32, 24000 bytes",
          "lies where 'blocks' lay before a recommit changed it"}) {
      EXPECT_THAT(result.output, HasSubstr(part));
    }
    EXPECT_EQ(result.output.find("no refusal"), std::string::npos) << result.output;
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, StaleGeneration,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Values(Symmetry::on, Symmetry::off)),
                         [](const testing::TestParamInfo<Setting>& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  (std::get<1>(param.param) == Symmetry::on ? "_on" : "_off");
                         });

TEST(StaleGenerations, MessagesAreRefusedOnBothSides) {
  const auto results = test::run_ranks(RankMode::threads, kRanks, [](World& world) {
    Session session = commit(world, plan_of(false));
    const Group tp = session.group(GroupKind::tp);
    const Buffer held = session.take(kChanged);
    session.recommit(plan_of(true));
    const Tensor rows = session.take(kChanged).elements(9);
    std::string text;
    if (world.rank() == WorldRank{2}) {
      text = refusal([&] { static_cast<void>(tp.send(held.elements(9), GroupRank{0})); });
    } else if (world.rank() == WorldRank{0}) {
      text = refusal([&] { static_cast<void>(tp.recv(rows, GroupRank{2})); });
    }
    session.close();
    return text;
  });
  test::expect_no_errors(results);
  for (const std::size_t rank : {0U, 2U}) {
    EXPECT_THAT(results[rank].output, HasSubstr("rank 2 refused "));
    EXPECT_THAT(results[rank].output, HasSubstr("input lies where 'rows' lay"));
  }
}

TEST(StaleGenerations, AGroupThatTheNextPlanDoesNotNameIsRefused) {
  const auto results = test::run_ranks(RankMode::threads, kRanks, [](World& world) {
    Session session = commit(world, plan_of(false));
    const Group attn = session.group(GroupKind::attn);
    static_cast<void>(attn.barrier());
    session.recommit(plan_of(true));
    std::string text = refusal([&] { static_cast<void>(attn.barrier()); });
    use(session, session.group(GroupKind::tp));
    session.close();
    return text + refusal([&] { static_cast<void>(attn.barrier()); });
  });
  test::expect_no_errors(results);
  for (const test::RankResult& result : results) {
    EXPECT_THAT(result.output, HasSubstr("group attn is named by no slot that this rank holds"));
    EXPECT_THAT(result.output, HasSubstr("the session is closed"));
  }
}

// Nothing of the arena but slots and blocks is for operands, with or without a recommit.
TEST(StaleGenerations, BytesBetweenSlotsAreRefused) {
  const auto results = test::run_ranks(RankMode::threads, kRanks, [](World& world) {
    Session session = commit(world, plan_of(false));
    const Group tp = session.group(GroupKind::tp);
    const Buffer buffer = session.take(kChanged);
    // Behind the last pool: words that ranks synchronise by.
    const std::size_t end = session.plan().pools().back().bytes;
    Scope scope = session.scope(GroupKind::tp);
    const Buffer first = scope.allocate(DType::i32, 10, 1);
    const bool strays = world.rank() == WorldRank{0};
    const Tensor stray{first.as<std::byte>() + end, 10, DType::i32};
    std::string text = refusal([&] {
      static_cast<void>(tp.all_reduce(strays ? stray : buffer.elements(10), ReduceOp::max));
    });
    session.close();
    return text;
  });
  test::expect_no_errors(results);
  for (const test::RankResult& result : results) {
    EXPECT_THAT(result.output,
                HasSubstr("input lies in the arena, but in no slot and no pool of the plan"));
  }
}

}  // namespace
}  // namespace cohort
