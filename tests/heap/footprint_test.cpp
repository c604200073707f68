#include <sstream>

#include <gtest/gtest.h>

#include <cohort/plan.hpp>

namespace cohort {
namespace {

Plan make_plan(Symmetry symmetry) {
  Plan plan(Layout{{.tp = 4}}, {.symmetry = symmetry, .lanes = 2});
  plan.send_recv(GroupKind::tp);
  static_cast<void>(plan.slot("mlp", {.groups = {GroupKind::tp, GroupKind::world},
                                      .dtype = DType::bf16,
                                      .rows_max = 4096,
                                      .row_elements = 576,
                                      .depth = 2}));
  return plan;
}

TEST(Footprint, RowsAddUpToTheArenaWithinOneGranule) {
  for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
    const Footprint planned = footprint(make_plan(symmetry));
    std::size_t sum = 0;
    for (const FootprintRow& row : planned.rows) {
      if (row.kind != FootprintRow::Kind::control) sum += row.bytes;
    }
    EXPECT_LE(sum, planned.arena_bytes);
    // Every region may round up to its alignment, every separate piece of memory to a granule.
    EXPECT_LE(planned.arena_bytes, sum + 2 * planned.granule_bytes + planned.rows.size() * 256);
    EXPECT_EQ(planned.arena_bytes % planned.granule_bytes, 0U);
  }
}

TEST(Footprint, EveryStageAddsUpToTheWholeArena) {
  Plan plan(Layout{{.tp = 2, .pp = 3}});
  SlotSpec spec{.groups = {GroupKind::tp}, .rows_max = 100, .row_elements = 9};
  static_cast<void>(plan.slot("common", spec));
  spec.stage = 1;
  spec.leases = 2;
  static_cast<void>(plan.slot("one", spec));
  spec.stage = 2;
  spec.rows_max = 5000;
  static_cast<void>(plan.slot("two", spec));
  const Footprint planned = footprint(plan);
  for (std::uint32_t stage = 0; stage < 3; ++stage) {
    std::size_t sum = 0;
    for (const FootprintRow& row : planned.rows) {
      if (row.kind == FootprintRow::Kind::control) continue;
      if (!row.stage || *row.stage == stage) sum += row.bytes;
    }
    EXPECT_EQ(sum, planned.arena_bytes) << "stage " << stage;
  }
  EXPECT_GE(planned.virtual_bytes, planned.peak_bytes);
  std::ostringstream text;
  text << planned;
  for (const char* part : {"stage 2", "leases of two", "padding", "virtual"}) {
    EXPECT_NE(text.str().find(part), std::string::npos) << part << " missing in\n" << text.str();
  }
}

TEST(Footprint, ChargesTheControlSegmentToRankZero) {
  const Footprint planned = footprint(make_plan(Symmetry::on));
  EXPECT_GT(planned.control_bytes, 0U);
  EXPECT_EQ(planned.planned_bytes(WorldRank{0}), planned.arena_bytes + planned.control_bytes);
  EXPECT_EQ(planned.planned_bytes(WorldRank{3}), planned.arena_bytes);
}

TEST(Footprint, PrintsEverySlotAndTheTotal) {
  std::ostringstream text;
  text << footprint(make_plan(Symmetry::on));
  for (const char* part : {"mlp", "tp", "staging", "scratch", "9.0 MiB",
                           "send/recv words of tp lane 1", "send/recv staging of tp lane 0"}) {
    EXPECT_NE(text.str().find(part), std::string::npos) << part << " missing in\n" << text.str();
  }
}

}  // namespace
}  // namespace cohort
