#include <functional>

#include <gtest/gtest.h>

#include <cohort/error.hpp>
#include <cohort/plan.hpp>

#include "heap/arena_layout.hpp"

namespace cohort {
namespace {

SlotSpec small_spec() {
  return {.groups = {GroupKind::tp}, .dtype = DType::bf16, .rows_max = 3, .row_elements = 5};
}

void expect_refused(const std::string& name, const SlotSpec& spec, const std::string& part) {
  Plan plan(Layout{{.tp = 2}});
  try {
    static_cast<void>(plan.slot(name, spec));
    ADD_FAILURE() << "accepted; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("'" + name + "'"), std::string::npos);
  }
}

TEST(Plan, RefusesSlotsThatMakeNoSense) {
  SlotSpec spec = small_spec();
  expect_refused("", spec, "needs a name");
  spec.groups.clear();
  expect_refused("a", spec, "names no group");
  spec = small_spec();
  spec.rows_max = 0;
  expect_refused("a", spec, "rows_max is 0");
  spec = small_spec();
  spec.row_elements = 0;
  expect_refused("a", spec, "row_elements is 0");
  spec = small_spec();
  spec.depth = 0;
  expect_refused("a", spec, "depth 0");
  spec = small_spec();
  spec.rows_max = std::size_t{1} << 40;
  spec.row_elements = std::size_t{1} << 40;
  expect_refused("a", spec, "too large");
}

TEST(Plan, RefusesANameTwice) {
  Plan plan(Layout{{.tp = 2}});
  static_cast<void>(plan.slot("kv", small_spec()));
  EXPECT_THROW(static_cast<void>(plan.slot("kv", small_spec())), Error);
}

TEST(Plan, RefusesNoLanes) {
  EXPECT_THROW(Plan(Layout{{.tp = 2}}, {.lanes = 0}), Error);
}

// Packed by running sum: nothing but the declarations decides an offset.
TEST(Plan, OffsetsAreTheRunningSumOfWhatWasDeclaredBefore) {
  Plan plan(Layout{{.tp = 4}});
  std::size_t end = 0;
  for (std::uint32_t i = 1; i < 40; ++i) {
    SlotSpec spec = small_spec();
    spec.rows_max = i * 7;
    spec.depth = i % 3 + 1;
    const SlotId id = plan.slot("slot" + std::to_string(i), spec);
    const PlannedSlot& slot = plan.slot(id);
    EXPECT_EQ(slot.offset, end);
    EXPECT_EQ(slot.entry_bytes % heap::kAlignmentBytes, 0U);
    EXPECT_GE(slot.entry_bytes, i * 7 * 5 * 2);
    EXPECT_LT(slot.entry_bytes, i * 7 * 5 * 2 + heap::kAlignmentBytes);
    end += slot.entry_bytes * spec.depth;
  }
}

TEST(Plan, SlotsOfAStageLieBehindThoseOfAllRanks) {
  Plan plan(Layout{{.tp = 2, .pp = 2}});
  SlotSpec spec = small_spec();
  const auto declare = [&](const std::string& name, std::optional<std::uint32_t> stage) {
    spec.stage = stage;
    return plan.slot(name, spec);
  };
  const SlotId first = declare("first", 0);
  const SlotId second = declare("second", 0);
  const SlotId other = declare("other", 1);
  const SlotId common = declare("common", std::nullopt);
  const std::size_t bytes = plan.slot(common).bytes();
  EXPECT_EQ(plan.slot(common).offset, 0U);
  EXPECT_EQ(plan.slot(first).offset, bytes);
  EXPECT_EQ(plan.slot(second).offset, 2 * bytes);
  EXPECT_EQ(plan.slot(other).offset, bytes) << "over the same offsets";
}

TEST(Plan, RefusesASlotOfAStageForAGroupThatCrossesStages) {
  Plan plan(Layout{{.tp = 2, .pp = 2}});
  SlotSpec spec = small_spec();
  spec.stage = 1;
  static_cast<void>(plan.slot("fine", spec));
  for (const GroupKind kind : {GroupKind::world, GroupKind::pp, GroupKind::host}) {
    spec.groups = {GroupKind::tp, kind};
    try {
      static_cast<void>(plan.slot("kv", spec));
      ADD_FAILURE() << "accepted group " << to_string(kind);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      const std::string text = error.what();
      EXPECT_NE(text.find("slot 'kv'"), std::string::npos) << text;
      EXPECT_NE(text.find("group " + std::string(to_string(kind))), std::string::npos) << text;
    }
  }
  spec.groups = {GroupKind::tp};
  spec.stage = 2;
  EXPECT_THROW(static_cast<void>(plan.slot("kv", spec)), Error);
}

TEST(Plan, LeasesAreEntriesOnTopOfTheDepth) {
  Plan plan(Layout{{.tp = 2}});
  SlotSpec spec = small_spec();
  spec.depth = 2;
  spec.leases = 3;
  const PlannedSlot& slot = plan.slot(plan.slot("graph", spec));
  EXPECT_EQ(slot.entries(), 5U);
  EXPECT_EQ(slot.bytes(), 5 * slot.entry_bytes);
  spec.leases = 0xFFFF;
  EXPECT_THROW(static_cast<void>(plan.slot("more", spec)), Error);
}

TEST(Plan, GroupMaskIsTheUnionOfItsSlots) {
  Plan plan(Layout{{.tp = 2}});
  EXPECT_EQ(plan.group_mask(), 0U);
  SlotSpec spec = small_spec();
  static_cast<void>(plan.slot("a", spec));
  spec.stage = 0;
  spec.groups = {GroupKind::world, GroupKind::attn};
  static_cast<void>(plan.slot("b", spec));
  EXPECT_EQ(plan.group_mask(0), plan.group_mask());
  const auto bit = [](GroupKind kind) { return 1U << static_cast<unsigned>(kind); };
  EXPECT_EQ(plan.group_mask(), bit(GroupKind::tp) | bit(GroupKind::world) | bit(GroupKind::attn));
  plan.send_recv(GroupKind::pp);
  EXPECT_EQ(plan.group_mask(),
            bit(GroupKind::tp) | bit(GroupKind::world) | bit(GroupKind::attn) | bit(GroupKind::pp));
}

TEST(Plan, PoolsServeEachGroupOnce) {
  Plan plan(Layout{{.tp = 2}});
  const PoolId id = plan.pool(
      "a",
      {.groups = {GroupKind::tp, {GroupKind::attn, 100}}, .bytes = 1000, .block_bytes_max = 700});
  const PlannedPool& pool = plan.pool(id);
  EXPECT_EQ(pool.bytes, 1024U);
  EXPECT_EQ(pool.block_bytes_max(GroupKind::tp), 768U);
  EXPECT_EQ(pool.block_bytes_max(GroupKind::attn), 256U);
  EXPECT_EQ(pool.block_bytes_max(GroupKind::world), 0U);
  EXPECT_EQ(plan.pool_of(GroupKind::attn), id);
  EXPECT_FALSE(plan.pool_of(GroupKind::world).has_value());
  EXPECT_EQ(plan.group_mask(), pool.group_mask);
  EXPECT_EQ(plan.group_mask(0), pool.group_mask);
}

TEST(Plan, RefusesPoolsThatMakeNoSense) {
  Plan plan(Layout{{.tp = 2}});
  const PoolSpec good{.groups = {GroupKind::tp}, .bytes = 100, .block_bytes_max = 100};
  static_cast<void>(plan.pool("first", good));
  static_cast<void>(plan.slot("rows", small_spec()));
  const auto refused = [&](const std::string& name, const PoolSpec& spec, const char* why) {
    try {
      static_cast<void>(plan.pool(name, spec));
      ADD_FAILURE() << "accepted: " << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
    }
  };
  PoolSpec spec = good;
  refused("second", spec, "group tp is served by pool 'first'; a group has one pool");
  spec.groups = {GroupKind::attn};
  refused("", spec, "needs a name");
  refused("first", spec, "declared twice");
  refused("rows", spec, "declared twice");
  spec.groups = {GroupKind::attn, GroupKind::attn};
  refused("second", spec, "names group attn twice");
  spec.groups = {};
  refused("second", spec, "names no group");
  spec.groups = {GroupKind::attn};
  spec.block_bytes_max = 0;
  refused("second", spec, "block_bytes_max is 0");
  spec.block_bytes_max = std::size_t{1} << 60;
  refused("second", spec, "too large");
  spec.block_bytes_max = 1;
  spec.bytes = std::size_t{1} << 60;
  refused("second", spec, "too many");
  EXPECT_EQ(plan.pools().size(), 1U);
  EXPECT_THROW(static_cast<void>(plan.slot("first", small_spec())), Error);
}

TEST(Plan, RefusesMessagesOfAGroupTwiceAndBeyondAnyMachine) {
  Plan plan(Layout{{.tp = 2}});
  plan.send_recv(GroupKind::tp, {.staged_bytes_max = 100});
  EXPECT_THROW(plan.send_recv(GroupKind::tp), Error);
  EXPECT_THROW(plan.send_recv(GroupKind::world, {.staged_bytes_max = std::size_t{1} << 60}), Error);
  ASSERT_EQ(plan.send_recvs().size(), 1U);
  EXPECT_EQ(plan.send_recvs()[0].spec.staged_bytes_max, 100U);
}

}  // namespace
}  // namespace cohort
