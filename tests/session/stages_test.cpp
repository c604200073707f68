// Slots that only the ranks of one pipeline stage hold.

#include <string>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;

const Layout kLayout{{.tp = 2, .pp = 2}};

struct Slots {
  SlotId common;
  std::vector<SlotId> of_stage;
};

SlotSpec spec_of(std::vector<GroupKind> groups, std::size_t rows,
                 std::optional<std::uint32_t> stage) {
  return {.groups = std::move(groups),
          .dtype = DType::i32,
          .rows_max = rows,
          .row_elements = 10,
          .depth = 2,
          .stage = stage};
}

/// Stages need different sizes and groups.
Plan make_plan(Slots& slots, const PlanOptions& options = {}) {
  Plan plan(kLayout, options);
  slots.of_stage.push_back(plan.slot("first", spec_of({GroupKind::tp}, 1000, 0)));
  slots.of_stage.push_back(
      plan.slot("second", spec_of({GroupKind::tp, GroupKind::attn_tp}, 4000, 1)));
  slots.common = plan.slot("common", spec_of({GroupKind::tp, GroupKind::pp}, 500, std::nullopt));
  return plan;
}

void expect_sum(const Group& group, const Buffer& buffer, std::size_t elements) {
  std::int32_t wanted = 0;
  for (const WorldRank rank : group.ranks()) wanted += 10 + static_cast<std::int32_t>(rank.index());
  const std::int32_t mine = 10 + static_cast<std::int32_t>(group.to_world(group.rank()).index());
  std::fill_n(buffer.as<std::int32_t>(), elements, mine);
  const Verdict verdict = group.all_reduce(buffer.elements(elements), ReduceOp::sum);
  EXPECT_NE(verdict.reason, Reason::operand_not_in_heap);
  for (std::size_t i = 0; i < elements; ++i) {
    ASSERT_EQ(buffer.as<std::int32_t>()[i], wanted) << "element " << i;
  }
}

std::string run_stages(World& world, Symmetry symmetry) {
  Slots slots;
  Session session = commit(world, make_plan(slots, {.symmetry = symmetry}));
  const std::uint32_t stage = kLayout.pipeline_stage(world.rank());
  const Group tp = session.group(GroupKind::tp);
  for (int turn = 0; turn < 5; ++turn) {
    for (const std::size_t elements : {std::size_t{20}, std::size_t{5000}}) {
      expect_sum(tp, session.take(slots.common), elements);
      expect_sum(session.group(GroupKind::pp), session.take(slots.common), elements);
      expect_sum(tp, session.take(slots.of_stage[stage]), 2 * elements);
    }
  }
  try {
    static_cast<void>(session.take(slots.of_stage[1 - stage]));
    ADD_FAILURE() << "took a slot of another stage";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("pipeline stage " + std::to_string(1 - stage)),
              std::string::npos)
        << error.what();
  }
  // Group attn_tp is named by stage 1 alone.
  if (stage == 0) {
    EXPECT_THROW(static_cast<void>(session.group(GroupKind::attn_tp)), Error);
  }
  if (stage == 1) expect_sum(session.group(GroupKind::attn_tp), session.take(slots.of_stage[1]), 9);
  EXPECT_EQ(session.measured_bytes(), footprint(session.plan()).planned_bytes(world.rank()));
  EXPECT_EQ(session.registrations_since_commit(), 0U);
  session.close();
  return "done";
}

class Stages : public testing::TestWithParam<std::tuple<RankMode, Symmetry>> {};

TEST_P(Stages, HoldTheirOwnSlotsOverTheSameOffsets) {
  const auto [mode, symmetry] = GetParam();
  const auto results = test::run_ranks(
      mode, 4, [symmetry = symmetry](World& world) { return run_stages(world, symmetry); });
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Modes, Stages,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Values(Symmetry::on, Symmetry::off)),
                         [](const auto& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  (std::get<1>(param.param) == Symmetry::on ? "_on" : "_off");
                         });

}  // namespace
}  // namespace cohort
