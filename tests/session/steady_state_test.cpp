// What a committed session needs in steady state, whatever the lengths: nothing. And what is left
// of it on one rank.

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

constexpr std::size_t kElements = 8'000;

struct Memory {
  SlotId input;
  SlotId output;
};

Plan plan_of(const Layout& layout, Memory& memory, const PlanOptions& options = {}) {
  Plan plan(layout, options);
  SlotSpec spec{.groups = {GroupKind::tp},
                .dtype = DType::i32,
                .rows_max = kElements,
                .row_elements = 1,
                .depth = 2};
  memory.input = plan.slot("input", spec);
  spec.rows_max = kElements * layout.world_size();
  memory.output = plan.slot("output", spec);
  static_cast<void>(plan.pool("blocks", {.groups = {GroupKind::attn},
                                         .bytes = std::size_t{8} * kElements,
                                         .block_bytes_max = std::size_t{4} * kElements}));
  return plan;
}

/// One call with rows of a length that nobody has used before.
void gather(Session& session, const Memory& memory, std::size_t elements) {
  const Group tp = session.group(GroupKind::tp);
  const Buffer input = session.take(memory.input);
  const Buffer output = session.take(memory.output);
  std::fill_n(input.as<std::int32_t>(), elements, static_cast<std::int32_t>(tp.rank().index()));
  const Verdict verdict =
      tp.all_gather(input.elements(elements), output.elements(elements * tp.size()));
  const PathChoice promised =
      session.explain(GroupKind::tp, Op::all_gather, DType::i32, elements * 4);
  EXPECT_EQ(verdict, (Verdict{promised.path, promised.reason, 0})) << elements << " elements";
  EXPECT_EQ(verdict.reason, Reason::ok);
  for (std::size_t i = 0; i < elements * tp.size(); ++i) {
    ASSERT_EQ(output.as<std::int32_t>()[i], static_cast<std::int32_t>(i / elements));
  }
}

TEST(SteadyState, LengthsNeverSeenBeforeNeedNoWarmUp) {
  const Layout layout({.tp = 3});
  test::expect_no_errors(test::run_ranks(test::RankMode::threads, 3, [&](World& world) {
    Memory memory;
    Session session = commit(world, plan_of(layout, memory));
    const std::size_t held = session.measured_bytes();
    std::vector<std::size_t> lengths = {0, 1, kElements};
    for (std::size_t i = 1; i < 60; ++i) lengths.push_back(1 + i * 4'099 % kElements);
    std::shuffle(lengths.begin(), lengths.end(), std::mt19937(7));
    for (const std::size_t elements : lengths) gather(session, memory, elements);
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    EXPECT_EQ(session.measured_bytes(), held);
    EXPECT_EQ(held, session.footprint().planned_bytes(world.rank()));
    session.close();
    return std::string();
  }));
}

TEST(SteadyState, OneRankRunsTheSameProgramWithoutItsPeers) {
  const Layout layout({.tp = 1});
  test::expect_no_errors(test::run_ranks(test::RankMode::threads, 1, [&](World& world) {
    Memory memory;
    Session session = commit(world, plan_of(layout, memory, {.strict = true}));
    const Group tp = session.group(GroupKind::tp);
    const Verdict alone{Path::local, Reason::group_size_one, 0};
    const Buffer input = session.take(memory.input);
    const Buffer output = session.take(memory.output);
    std::fill_n(input.as<std::int32_t>(), kElements, 5);
    EXPECT_EQ(tp.all_gather(input.elements(kElements), output.elements(kElements)), alone);
    EXPECT_EQ(output.as<std::int32_t>()[kElements - 1], 5);
    EXPECT_EQ(tp.all_reduce(output.elements(kElements), ReduceOp::sum), alone);
    EXPECT_EQ(output.as<std::int32_t>()[0], 5);
    EXPECT_EQ(tp.barrier(), alone);
    // Mistakes are mistakes on one rank, too: they would be found on two.
    Scope scope = session.scope(GroupKind::attn);
    const Buffer block = scope.allocate(DType::i32, kElements, 1);
    try {
      static_cast<void>(tp.all_reduce(block.elements(kElements), ReduceOp::sum));
      ADD_FAILURE() << "a block of another group was not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_THAT(error.what(), testing::HasSubstr("allocated for group attn"));
    }
    session.verify();
    session.close();
    return std::string();
  }));
}

}  // namespace
}  // namespace cohort
