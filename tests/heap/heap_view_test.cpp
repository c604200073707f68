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
  const HeapView view(plan, memory.data());
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

TEST(HeapView, KnowsWhatLiesOutside) {
  const Plan plan = make_plan();
  const PlannedSlot& last = plan.slots().back();
  const std::size_t bytes = last.offset + last.entry_bytes * last.spec.depth;
  std::vector<std::byte> memory(bytes + 512);
  const HeapView view(plan, memory.data() + 256);
  EXPECT_FALSE(view.locate(memory.data() + 255, 1).has_value());
  EXPECT_FALSE(view.locate(memory.data() + 256 + bytes, 1).has_value());
  EXPECT_FALSE(view.locate(nullptr, 1).has_value());
  EXPECT_EQ(view.address_of({2, 1}), memory.data() + 256 + last.offset + last.entry_bytes);
}

}  // namespace
}  // namespace cohort::heap
