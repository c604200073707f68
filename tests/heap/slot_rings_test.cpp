#include "heap/slot_rings.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace cohort::heap {
namespace {

Plan make_plan() {
  Plan plan(Layout{{.tp = 2}});
  for (std::uint32_t i = 0; i < 4; ++i) {
    static_cast<void>(
        plan.slot("s" + std::to_string(i),
                  {.groups = {GroupKind::tp}, .rows_max = 1, .row_elements = 1, .depth = i + 1}));
  }
  return plan;
}

TEST(SlotRings, TheNextEntryDependsOnTheNumberOfTakesAlone) {
  const Plan plan = make_plan();
  SlotRings rings(plan, 3);
  SlotRings other(plan, 3);
  std::mt19937 random(7);
  std::array<std::uint32_t, 4> takes{};
  for (int step = 0; step < 500; ++step) {
    const std::uint32_t slot = random() % 4;
    const EntryId entry = rings.next(SlotId{slot});
    EXPECT_EQ(entry.entry, takes[slot]++ % (slot + 1));
    // Uses of entries, which depend on time, do not move the ring.
    rings.note_use(entry, random() % 3, random());
    if (random() % 2 == 0) rings.settle(entry, [](std::size_t, std::uint64_t) {});
    EXPECT_EQ(other.next(SlotId{slot}), entry);
  }
}

// Against a map that remembers the last call of every (entry, channel).
TEST(SlotRings, LeasesComeInARingOfTheirOwnBehindTheOthers) {
  Plan plan(Layout{{.tp = 2}});
  const SlotId slot = plan.slot(
      "s", {.groups = {GroupKind::tp}, .rows_max = 1, .row_elements = 1, .depth = 2, .leases = 3});
  SlotRings rings(plan, 1);
  for (std::uint32_t turn = 0; turn < 20; ++turn) {
    EXPECT_EQ(rings.next(slot).entry, turn % 2);
    const LeaseTurn lease = rings.next_lease(slot);
    EXPECT_EQ(lease.entry, (EntryId{0, 2 + turn % 3}));
    EXPECT_EQ(lease.index, turn % 3);
    EXPECT_EQ(lease.use, turn / 3 + 1);
    EXPECT_EQ(rings.next_lease(slot).entry, lease.entry) << "until it is counted";
    rings.count_lease(slot);
  }
}

TEST(SlotRings, GoOnWhereTheyAreInSlotsThatStay) {
  Plan before(Layout{{.tp = 2}});
  SlotSpec spec{
      .groups = {GroupKind::tp}, .rows_max = 1, .row_elements = 1, .depth = 3, .leases = 2};
  static_cast<void>(before.slot("stays", spec));
  static_cast<void>(before.slot("changes", spec));
  SlotRings rings(before, 1);
  for (const std::uint32_t slot : {0U, 1U}) {
    static_cast<void>(rings.next(SlotId{slot}));
    rings.count_lease(SlotId{slot});
  }
  Plan after(Layout{{.tp = 2}});
  static_cast<void>(after.slot("stays", spec));
  spec.rows_max = 2;
  static_cast<void>(after.slot("changes", spec));
  static_cast<void>(after.slot("new", spec));
  SlotRings next(after, 2);
  next.continue_from(after, rings, before);
  EXPECT_EQ(next.next(SlotId{0}).entry, 1U);
  EXPECT_EQ(next.next_lease(SlotId{0}).index, 1U);
  for (const std::uint32_t slot : {1U, 2U}) {
    EXPECT_EQ(next.next(SlotId{slot}).entry, 0U);
    EXPECT_EQ(next.next_lease(SlotId{slot}).index, 0U);
  }
}

TEST(SlotRings, SettleWaitsForTheLastUseOnEveryChannelOnce) {
  const Plan plan = make_plan();
  SlotRings rings(plan, 5);
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::map<std::size_t, std::uint64_t>> model;
  std::mt19937 random(11);
  for (int step = 0; step < 5000; ++step) {
    const std::uint32_t slot = random() % 4;
    const EntryId entry{slot, static_cast<std::uint32_t>(random() % (slot + 1))};
    auto& expected = model[{entry.slot, entry.entry}];
    if (random() % 3 != 0) {
      const std::size_t channel = random() % 5;
      const auto sequence = static_cast<std::uint64_t>(step);
      rings.note_use(entry, channel, sequence);
      expected[channel] = sequence;
      EXPECT_TRUE(rings.is_pending(entry));
      continue;
    }
    std::map<std::size_t, std::uint64_t> waited;
    rings.settle(entry, [&](std::size_t channel, std::uint64_t sequence) {
      EXPECT_TRUE(waited.emplace(channel, sequence).second);
    });
    EXPECT_EQ(waited, expected);
    expected.clear();
    EXPECT_FALSE(rings.is_pending(entry));
  }
}

TEST(SlotRings, AFailedWaitLeavesTheUsePending) {
  const Plan plan = make_plan();
  SlotRings rings(plan, 2);
  const EntryId entry = rings.next(SlotId{2});
  rings.note_use(entry, 1, 9);
  EXPECT_THROW(rings.settle(entry, [](std::size_t, std::uint64_t) { throw 1; }), int);
  EXPECT_TRUE(rings.is_pending(entry));
}

TEST(SlotRings, HoldsAnyNumberOfChannelsApart) {
  const Plan plan = make_plan();
  for (const std::size_t channels : {63U, 64U, 65U, 300U}) {
    SlotRings rings(plan, channels);
    const EntryId entry = rings.next(SlotId{1});
    const EntryId other = rings.next(SlotId{1});
    std::vector<std::size_t> used;
    for (std::size_t channel = 0; channel < channels; channel += channel % 3 == 0 ? 1 : 31) {
      rings.note_use(entry, channel, channel * 7 + 1);
      used.push_back(channel);
    }
    rings.note_use(entry, channels - 1, 5);
    if (used.back() != channels - 1) used.push_back(channels - 1);
    EXPECT_FALSE(rings.is_pending(other));
    std::vector<std::size_t> waited;
    rings.settle(entry, [&](std::size_t channel, std::uint64_t sequence) {
      EXPECT_EQ(sequence, channel == channels - 1 ? 5 : channel * 7 + 1);
      waited.push_back(channel);
    });
    EXPECT_EQ(waited, used);
    EXPECT_FALSE(rings.is_pending(entry));
  }
}

}  // namespace
}  // namespace cohort::heap
