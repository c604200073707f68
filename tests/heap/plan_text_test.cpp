#include "heap/plan_text.hpp"

#include <set>

#include <gtest/gtest.h>

namespace cohort::heap {
namespace {

Plan make_plan(std::size_t rows, DType dtype, std::uint32_t depth, GroupKind group,
               const PlanOptions& options = {}) {
  Plan plan(Layout{{.tp = 4}}, options);
  static_cast<void>(plan.slot(
      "kv",
      {.groups = {group}, .dtype = dtype, .rows_max = rows, .row_elements = 8, .depth = depth}));
  return plan;
}

TEST(PlanText, EqualPlansHaveEqualDigests) {
  EXPECT_EQ(plan_digest(make_plan(4, DType::f32, 1, GroupKind::tp)),
            plan_digest(make_plan(4, DType::f32, 1, GroupKind::tp)));
}

TEST(PlanText, EveryFieldIsInTheDigest) {
  std::set<std::array<std::uint64_t, 2>> digests;
  digests.insert(plan_digest(make_plan(4, DType::f32, 1, GroupKind::tp)));
  digests.insert(plan_digest(make_plan(5, DType::f32, 1, GroupKind::tp)));
  digests.insert(plan_digest(make_plan(4, DType::i32, 1, GroupKind::tp)));
  digests.insert(plan_digest(make_plan(4, DType::f32, 2, GroupKind::tp)));
  digests.insert(plan_digest(make_plan(4, DType::f32, 1, GroupKind::world)));
  digests.insert(plan_digest(make_plan(4, DType::f32, 1, GroupKind::tp, {.strict = true})));
  digests.insert(
      plan_digest(make_plan(4, DType::f32, 1, GroupKind::tp, {.symmetry = Symmetry::off})));
  digests.insert(plan_digest(make_plan(4, DType::f32, 1, GroupKind::tp, {.lanes = 2})));
  digests.insert(plan_digest(Plan(Layout{{.tp = 4}})));
  digests.insert(plan_digest(Plan(Layout{{.tp = 4, .attn_dp = 2}})));
  digests.insert(
      plan_digest(make_plan(4, DType::f32, 1, GroupKind::tp, {.reserve_bytes = 1 << 30})));
  const auto with = [](std::optional<std::uint32_t> stage, std::uint32_t leases) {
    Plan plan(Layout{{.tp = 4, .pp = 2}});
    static_cast<void>(plan.slot("kv", {.groups = {GroupKind::tp},
                                       .rows_max = 4,
                                       .row_elements = 8,
                                       .stage = stage,
                                       .leases = leases}));
    return plan_digest(plan);
  };
  for (const std::uint32_t leases : {0U, 1U}) {
    for (const std::optional<std::uint32_t> stage :
         {std::optional<std::uint32_t>(), std::optional(0U), std::optional(1U)}) {
      digests.insert(with(stage, leases));
    }
  }
  Plan messages = make_plan(4, DType::f32, 1, GroupKind::tp);
  messages.send_recv(GroupKind::tp);
  digests.insert(plan_digest(messages));
  Plan larger = make_plan(4, DType::f32, 1, GroupKind::tp);
  larger.send_recv(GroupKind::tp, {.staged_bytes_max = 1});
  digests.insert(plan_digest(larger));
  EXPECT_EQ(digests.size(), 19U);
}

TEST(PlanText, NamesTheFirstDifferingEntryAndItsHolders) {
  const auto lines = plan_lines(make_plan(4, DType::f32, 1, GroupKind::tp));
  auto other = lines;
  other.back() = "slot 0 'kv': something else";
  auto shorter = lines;
  shorter.pop_back();
  const std::string two = describe_difference({lines, other, lines});
  EXPECT_NE(two.find("ranks 0, 2 declared [slot 0 'kv'"), std::string::npos) << two;
  EXPECT_NE(two.find("rank 1 declared [slot 0 'kv': something else]"), std::string::npos) << two;
  const std::string missing = describe_difference({lines, shorter});
  EXPECT_NE(missing.find("rank 1 declared [no such entry]"), std::string::npos) << missing;
}

}  // namespace
}  // namespace cohort::heap
