#include "heap/heap_view.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace cohort::heap {
namespace {

Plan make_plan() {
  Plan plan(Layout{{.tp = 2}});
  for (std::uint32_t i = 0; i < 3; ++i) {
    static_cast<void>(plan.slot("s" + std::to_string(i), {.groups = {GroupKind::tp},
                                                          .dtype = DType::i32,
                                                          .rows_max = 40 + i * 30,
                                                          .row_elements = 1,
                                                          .depth = i + 1}));
  }
  return plan;
}

TEST(HeapView, FindsTheEntryOfEveryByte) {
  const Plan plan = make_plan();
  const PlannedSlot& last = plan.slots().back();
  const std::size_t bytes = last.offset + last.entry_bytes * last.spec.depth;
  std::vector<std::byte> memory(bytes);
  const HeapView view(plan, arena_layout(plan), 0, memory.data());
  for (std::size_t offset = 0; offset < bytes; ++offset) {
    std::uint32_t slot = 0;
    while (slot + 1 < plan.slots().size() && plan.slots()[slot + 1].offset <= offset) ++slot;
    const std::size_t within = offset - plan.slots()[slot].offset;
    const std::size_t entry_bytes = plan.slots()[slot].entry_bytes;
    const auto found = view.locate(memory.data() + offset, 1);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->entry.slot, slot);
    EXPECT_EQ(found->entry.entry, within / entry_bytes);
    EXPECT_EQ(found->offset, offset);
    EXPECT_FALSE(found->runs_past_end);
    const std::size_t rest = entry_bytes - within % entry_bytes;
    EXPECT_FALSE(view.locate(memory.data() + offset, rest)->runs_past_end);
    EXPECT_TRUE(view.locate(memory.data() + offset, rest + 1)->runs_past_end);
  }
}

TEST(HeapView, SlotsOfOtherStagesDoNotExist) {
  Plan plan(Layout{{.tp = 1, .pp = 2}});
  SlotSpec spec{.groups = {GroupKind::tp}, .rows_max = 64, .row_elements = 1};
  static_cast<void>(plan.slot("common", spec));
  spec.stage = 1;
  static_cast<void>(plan.slot("second", spec));
  spec.stage = 0;
  spec.rows_max = 32;
  static_cast<void>(plan.slot("first", spec));
  std::vector<std::byte> memory(2048);
  const ArenaLayout layout = arena_layout(plan);
  for (std::uint32_t stage = 0; stage < 2; ++stage) {
    const HeapView view(plan, layout, stage, memory.data());
    EXPECT_EQ(view.locate(memory.data(), 1)->entry.slot, 0U);
    EXPECT_EQ(view.locate(memory.data() + 256, 1)->entry.slot, stage == 0 ? 2U : 1U);
    EXPECT_EQ(view.locate(memory.data() + 256, 256)->runs_past_end, false);
  }
}

// A later plan puts a slot that grew behind slots declared after it.
TEST(HeapView, FindsSlotsThatHaveMoved) {
  const Plan before = make_plan();
  const ArenaLayout first = arena_layout(before);
  Plan next(Layout{{.tp = 2}});
  for (std::uint32_t i = 0; i < 3; ++i) {
    SlotSpec spec = before.slots()[i].spec;
    if (i == 0) spec.rows_max = 5000;
    static_cast<void>(next.slot(before.slots()[i].name, spec));
  }
  const ArenaLayout second = arena_layout(first, before, next);
  std::vector<std::byte> memory(second.arena.bytes);
  const HeapView view(next, second, 0, memory.data());
  for (std::uint32_t i = 0; i < 3; ++i) {
    const std::byte* const begin = view.address_of({i, 0});
    EXPECT_EQ(begin - memory.data(), static_cast<std::ptrdiff_t>(second.slots[i].offset));
    EXPECT_EQ(view.locate(begin, 1)->entry, (EntryId{i, 0}));
  }
  EXPECT_FALSE(view.locate(memory.data(), 1).has_value()) << "where the first slot once was";
}

TEST(HeapView, KnowsWhatLiesOutside) {
  const Plan plan = make_plan();
  const PlannedSlot& last = plan.slots().back();
  const std::size_t bytes = last.offset + last.entry_bytes * last.spec.depth;
  std::vector<std::byte> memory(bytes + 512);
  const HeapView view(plan, arena_layout(plan), 0, memory.data() + 256);
  EXPECT_FALSE(view.locate(memory.data() + 255, 1).has_value());
  EXPECT_FALSE(view.locate(memory.data() + 256 + bytes, 1).has_value());
  EXPECT_FALSE(view.locate(nullptr, 1).has_value());
  EXPECT_EQ(view.address_of({2, 1}), memory.data() + 256 + last.offset + last.entry_bytes);
}

}  // namespace
}  // namespace cohort::heap
