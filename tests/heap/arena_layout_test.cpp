#include "heap/arena_layout.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::heap {
namespace {

Plan make_plan(const PlanOptions& options) {
  Plan plan(Layout{{.tp = 4, .attn_dp = 2, .attn_cp = 2}}, options);
  static_cast<void>(plan.slot("a", {.groups = {GroupKind::tp, GroupKind::attn_cp},
                                    .dtype = DType::f32,
                                    .rows_max = 100,
                                    .row_elements = 7,
                                    .depth = 3}));
  static_cast<void>(plan.slot(
      "b",
      {.groups = {GroupKind::attn_cp}, .dtype = DType::i64, .rows_max = 1000, .row_elements = 9}));
  return plan;
}

struct Span {
  std::size_t begin;
  std::size_t end;
};

std::vector<Span> regions_of(const Plan& plan, const ArenaLayout& layout) {
  std::vector<Span> regions;
  if (layout.slots_in_arena) {
    for (const PlannedSlot& slot : plan.slots()) {
      regions.push_back({slot.offset, slot.offset + slot.entry_bytes * slot.spec.depth});
    }
  }
  for (const ChannelRegion& channel : layout.channels) {
    regions.push_back({channel.sync_offset, channel.sync_offset + kSyncBytes});
    regions.push_back({channel.scratch_offset, channel.scratch_offset + kPlaceCount * kPlaceBytes});
    regions.push_back({channel.staging_offset,
                       channel.staging_offset + kPlaceCount * channel.staging_entry_bytes});
  }
  return regions;
}

TEST(ArenaLayout, RegionsAreAlignedAndDisjointAndInside) {
  for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
    for (const std::uint32_t lanes : {1U, 3U}) {
      const Plan plan = make_plan({.symmetry = symmetry, .lanes = lanes});
      const ArenaLayout layout = arena_layout(plan);
      EXPECT_EQ(layout.channels.size(), 2 * lanes);
      std::vector<Span> regions = regions_of(plan, layout);
      std::sort(regions.begin(), regions.end(),
                [](const Span& a, const Span& b) { return a.begin < b.begin; });
      std::size_t end = 0;
      for (const Span& region : regions) {
        EXPECT_EQ(region.begin % kAlignmentBytes, 0U);
        EXPECT_GE(region.begin, end);
        end = region.end;
      }
      EXPECT_LE(end, layout.bytes);
    }
  }
}

TEST(ArenaLayout, StagingHoldsTheLargestOperandPlannedForTheGroup) {
  const Plan plan = make_plan({});
  for (const ChannelRegion& channel : arena_layout(plan).channels) {
    const std::size_t wanted =
        channel.kind == GroupKind::tp ? plan.slots()[0].entry_bytes : plan.slots()[1].entry_bytes;
    EXPECT_EQ(channel.staging_entry_bytes, wanted) << to_string(channel.kind);
  }
}

TEST(ArenaLayout, SlotsOfAPlanWithoutSymmetryTakeNoArena) {
  const ArenaLayout on = arena_layout(make_plan({.symmetry = Symmetry::on}));
  const ArenaLayout off = arena_layout(make_plan({.symmetry = Symmetry::off}));
  EXPECT_EQ(on.slot_bytes, off.slot_bytes);
  EXPECT_EQ(on.bytes, off.bytes + off.slot_bytes);
}

}  // namespace
}  // namespace cohort::heap
