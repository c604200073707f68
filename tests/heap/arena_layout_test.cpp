#include "heap/arena_layout.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort::heap {
namespace {

struct Span {
  std::size_t begin;
  std::size_t bytes;
  std::string name;
};

/// What ranks of `stage` hold in the arena, and in the slots' own range if they have one.
struct Held {
  std::vector<Span> arena;
  std::vector<Span> slots;
};

Held held_by(const Plan& plan, const ArenaLayout& layout, std::uint32_t stage) {
  Held held;
  std::vector<Span>& slots = layout.slots_in_arena ? held.arena : held.slots;
  for (std::size_t i = 0; i < plan.slots().size(); ++i) {
    const PlannedSlot& slot = plan.slots()[i];
    if (!slot.exists_in(stage)) continue;
    slots.push_back({layout.slots[i].offset, slot.bytes(), slot.name});
    if (slot.spec.leases == 0) continue;
    held.arena.push_back({layout.slots[i].lease_offset, lease_bytes(slot), "leases"});
  }
  for (const ChannelRegion& channel : layout.channels) {
    if (!is_held_by(channel.section, stage)) continue;
    held.arena.push_back({channel.sync_offset, kSyncBytes, "sync"});
    held.arena.push_back({channel.scratch_offset, kPlaceCount * kPlaceBytes, "scratch"});
    held.arena.push_back(
        {channel.staging_offset, kPlaceCount * channel.staging_entry_bytes, "staging"});
    const SendRecvRegion& messages = channel.messages;
    if (messages.peers == 0) continue;
    held.arena.push_back({messages.sync_offset, messages.sync_bytes(), "message words"});
    held.arena.push_back({messages.scratch_offset, messages.scratch_bytes(), "message scratch"});
    held.arena.push_back({messages.staging_offset, messages.staging_bytes(), "message staging"});
  }
  // What takes no bytes has no place.
  const auto is_empty = [](const Span& span) { return span.bytes == 0; };
  held.arena.erase(std::remove_if(held.arena.begin(), held.arena.end(), is_empty),
                   held.arena.end());
  return held;
}

/// Aligned, and each byte of the range belongs to one region.
void expect_tiles(std::vector<Span> spans, std::size_t bytes, const std::string& what) {
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.begin < b.begin; });
  std::size_t end = 0;
  for (const Span& span : spans) {
    ASSERT_EQ(span.begin % kAlignmentBytes, 0U) << what << ": " << span.name;
    ASSERT_EQ(span.begin, end) << what << ": " << span.name << " overlaps or leaves a gap";
    end = span.begin + span.bytes;
  }
  ASSERT_EQ(end, bytes) << what;
}

/// With symmetric memory, where padding and retired regions can only lie in the arena.
void expect_sound(const Plan& plan, const ArenaLayout& layout) {
  ASSERT_EQ(layout.arena.bytes % kGranuleBytes, 0U);
  for (std::uint32_t stage = 0; stage < plan.layout().sizes().pp; ++stage) {
    Held held = held_by(plan, layout, stage);
    for (const UnusedRegion& region : layout.unused) {
      if (!is_held_by(region.section, stage)) continue;
      held.arena.push_back({region.offset, region.bytes, region.name});
    }
    expect_tiles(held.arena, layout.arena.bytes, "stage " + std::to_string(stage));
  }
}

SlotSpec spec_of(std::vector<GroupKind> groups, std::size_t rows,
                 std::optional<std::uint32_t> stage = std::nullopt, std::uint32_t leases = 0) {
  return {.groups = std::move(groups),
          .dtype = DType::f32,
          .rows_max = rows,
          .row_elements = 7,
          .depth = 1 + static_cast<std::uint32_t>(rows % 2),
          .stage = stage,
          .leases = leases};
}

/// Specs of every sort: of all ranks and of a stage, small and large, with leases and without.
std::vector<SlotSpec> alphabet(std::uint32_t stages) {
  std::vector<SlotSpec> specs = {
      spec_of({GroupKind::tp}, 3),
      spec_of({GroupKind::world, GroupKind::attn_tp}, 200, std::nullopt, 3),
  };
  for (std::uint32_t stage = 0; stage < stages; ++stage) {
    specs.push_back(spec_of({GroupKind::tp}, 100 + 50 * stage, stage));
    specs.push_back(spec_of({GroupKind::attn_tp}, 9, stage, stage + 1));
  }
  return specs;
}

Plan plan_of(const Layout& layout, const std::vector<SlotSpec>& specs, std::uint32_t lanes) {
  Plan plan(layout, {.lanes = lanes});
  for (std::size_t i = 0; i < specs.size(); ++i) {
    static_cast<void>(plan.slot("s" + std::to_string(i), specs[i]));
  }
  if (lanes == 2) plan.send_recv(GroupKind::attn_tp);
  if (lanes == 2) plan.send_recv(GroupKind::pp, {.staged_bytes_max = 7});
  return plan;
}

/// Calls `body` with every sequence of up to `length_max` of the specs.
template <typename Body>
void for_all_sequences(const std::vector<SlotSpec>& specs, std::size_t length_max,
                       const Body& body) {
  std::vector<std::size_t> digits;
  while (digits.size() <= length_max) {
    std::vector<SlotSpec> sequence;
    for (const std::size_t digit : digits) sequence.push_back(specs[digit]);
    body(sequence);
    std::size_t at = 0;
    while (at < digits.size() && ++digits[at] == specs.size()) digits[at++] = 0;
    if (at == digits.size()) digits.push_back(0);
  }
}

TEST(ArenaLayout, AllSmallPlansTileTheArenaOfEveryStage) {
  for (std::uint32_t stages = 1; stages <= 3; ++stages) {
    const Layout layout({.tp = 2, .pp = stages});
    for (std::uint32_t lanes = 1; lanes <= 2; ++lanes) {
      for_all_sequences(alphabet(stages), 3, [&](const std::vector<SlotSpec>& specs) {
        const Plan plan = plan_of(layout, specs, lanes);
        const ArenaLayout first = arena_layout(plan);
        expect_sound(plan, first);
        for (std::size_t i = 0; i < specs.size(); ++i) {
          ASSERT_EQ(first.slots[i].offset, plan.slots()[i].offset) << "known while declaring";
        }
      });
    }
  }
}

/// Every slot keeps its place or changes, and one is added or not.
TEST(ArenaLayout, ALaterPlanMovesNothingThatStays) {
  const Layout layout({.tp = 2, .pp = 2});
  const std::vector<SlotSpec> specs = alphabet(2);
  for_all_sequences(specs, 2, [&](const std::vector<SlotSpec>& first_specs) {
    const Plan before = plan_of(layout, first_specs, 1);
    const ArenaLayout first = arena_layout(before);
    for_all_sequences(specs, first_specs.size() + 1, [&](const std::vector<SlotSpec>& next_specs) {
      if (next_specs.size() < first_specs.size()) return;
      const Plan next = plan_of(layout, next_specs, 1);
      const ArenaLayout second = arena_layout(first, before, next);
      expect_sound(next, second);
      ASSERT_EQ(second.arena.reserved_bytes, first.arena.reserved_bytes);
      for (std::size_t i = 0; i < next_specs.size(); ++i) {
        const bool stays = i < first_specs.size() && first_specs[i] == next_specs[i];
        if (stays) {
          ASSERT_EQ(second.slots[i].offset, first.slots[i].offset);
          ASSERT_EQ(second.slots[i].lease_offset, first.slots[i].lease_offset);
        } else {
          ASSERT_GE(second.slots[i].offset, first.arena.bytes) << "behind all there was";
        }
      }
      if (next_specs != first_specs) return;
      ASSERT_EQ(second.arena.bytes, first.arena.bytes);
    });
  });
}

TEST(ArenaLayout, LongChainsOfPlansStaySound) {
  std::mt19937 random(5);
  for (int chain = 0; chain < 20; ++chain) {
    const Layout layout(
        {.tp = 4, .attn_dp = 2, .pp = static_cast<std::uint32_t>(1 + random() % 3)});
    const std::vector<SlotSpec> all = alphabet(layout.sizes().pp);
    std::vector<SlotSpec> specs = {all[random() % all.size()]};
    Plan plan = plan_of(layout, specs, 2);
    ArenaLayout current = arena_layout(plan);
    for (int step = 0; step < 12; ++step) {
      if (random() % 2 == 0) specs[random() % specs.size()] = all[random() % all.size()];
      if (random() % 2 == 0) specs.push_back(all[random() % all.size()]);
      const Plan next = plan_of(layout, specs, 2);
      current = arena_layout(current, plan, next);
      expect_sound(next, current);
      plan = next;
    }
  }
}

TEST(ArenaLayout, AChannelStaysUnlessItsLargestOperandGrows) {
  const Layout layout({.tp = 2});
  const Plan before = plan_of(layout, {spec_of({GroupKind::tp}, 100)}, 1);
  const ArenaLayout first = arena_layout(before);
  const Plan smaller =
      plan_of(layout, {spec_of({GroupKind::tp}, 100), spec_of({GroupKind::tp}, 9)}, 1);
  const ArenaLayout same = arena_layout(first, before, smaller);
  EXPECT_EQ(same.channels[0].sync_offset, first.channels[0].sync_offset);
  const Plan larger =
      plan_of(layout, {spec_of({GroupKind::tp}, 100), spec_of({GroupKind::tp}, 900)}, 1);
  const ArenaLayout moved = arena_layout(first, before, larger);
  EXPECT_GE(moved.channels[0].sync_offset, first.arena.bytes);
  EXPECT_EQ(moved.slots[0].offset, first.slots[0].offset);
  const auto retired = std::find_if(
      moved.unused.begin(), moved.unused.end(),
      [](const UnusedRegion& region) { return region.why == UnusedRegion::Why::retired; });
  ASSERT_NE(retired, moved.unused.end());
  EXPECT_EQ(retired->offset, first.channels[0].sync_offset);
}

TEST(ArenaLayout, StagingHoldsTheLargestOperandThatTheStagePlannedForTheGroup) {
  const Layout layout({.tp = 2, .pp = 3});
  const Plan plan =
      plan_of(layout,
              {spec_of({GroupKind::tp, GroupKind::world}, 50), spec_of({GroupKind::tp}, 500, 1),
               spec_of({GroupKind::attn_tp}, 70, 2)},
              1);
  const auto entry = [&](std::size_t slot) { return plan.slots()[slot].entry_bytes; };
  std::size_t found = 0;
  for (const ChannelRegion& channel : arena_layout(plan).channels) {
    ++found;
    std::size_t wanted = entry(0);
    if (channel.kind == GroupKind::tp) {
      ASSERT_TRUE(channel.section);
      if (*channel.section == 1) wanted = entry(1);
    } else if (channel.kind == GroupKind::attn_tp) {
      EXPECT_EQ(channel.section, Section(2)) << "no other stage names it";
      wanted = entry(2);
    } else {
      EXPECT_EQ(channel.section, std::nullopt);
    }
    EXPECT_EQ(channel.staging_entry_bytes, wanted) << to_string(channel.kind);
  }
  EXPECT_EQ(found, 5U);
}

TEST(ArenaLayout, SlotsOfAPlanWithoutSymmetryHaveARangeOfTheirOwn) {
  const Layout layout({.tp = 2, .pp = 2});
  for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
    Plan plan(layout, {.symmetry = symmetry});
    static_cast<void>(plan.slot("a", spec_of({GroupKind::tp}, 100, std::nullopt, 2)));
    static_cast<void>(plan.slot("b", spec_of({GroupKind::tp}, 300, 1)));
    const ArenaLayout first = arena_layout(plan);
    const bool on = symmetry == Symmetry::on;
    EXPECT_EQ(first.private_slots.bytes,
              on ? 0 : align_up(plan.slots()[1].offset + plan.slots()[1].bytes(), kGranuleBytes));
    EXPECT_EQ(first.slots[1].offset, plan.slots()[1].offset);
    Plan next = plan;
    static_cast<void>(next.slot("c", spec_of({GroupKind::tp}, 20)));
    const ArenaLayout second = arena_layout(first, plan, next);
    EXPECT_EQ(second.slots[2].offset, on ? first.arena.bytes : first.private_slots.bytes);
    EXPECT_EQ(second.arena.bytes > first.arena.bytes, on);
  }
}

TEST(ArenaLayout, MessagesGetWordsForEveryPeerAndStagingForTheLargestOperand) {
  Plan plan(Layout({.tp = 4, .attn_dp = 2}), {.lanes = 2});
  static_cast<void>(plan.slot("a", spec_of({GroupKind::tp}, 100)));
  EXPECT_EQ(arena_layout(plan).reader_count(0), 2U);
  plan.send_recv(GroupKind::tp);
  plan.send_recv(GroupKind::attn_tp, {.staged_bytes_max = 1000});
  const ArenaLayout layout = arena_layout(plan);
  ASSERT_EQ(layout.channels.size(), 4U);
  for (const ChannelRegion& channel : layout.channels) {
    const SendRecvRegion& messages = channel.messages;
    const bool tp = channel.kind == GroupKind::tp;
    EXPECT_EQ(messages.peers, tp ? 4U : 2U);
    EXPECT_EQ(messages.staging_entry_bytes, tp ? plan.slots()[0].entry_bytes : 1024U);
    EXPECT_EQ(channel.staging_entry_bytes, tp ? plan.slots()[0].entry_bytes : 0U);
  }
  EXPECT_EQ(layout.reader_count(0), 4U + 2 * 4 + 2 * 2);

  // Messages that change are messages of another region; all else stays.
  Plan next(plan.layout(), plan.options());
  static_cast<void>(next.slot("a", spec_of({GroupKind::tp}, 100)));
  next.send_recv(GroupKind::tp);
  next.send_recv(GroupKind::attn_tp, {.staged_bytes_max = 2000});
  const ArenaLayout later = arena_layout(layout, plan, next);
  for (std::size_t i = 0; i < later.channels.size(); ++i) {
    const bool stays = later.channels[i].kind == GroupKind::tp;
    EXPECT_EQ(later.channels[i].sync_offset == layout.channels[i].sync_offset, stays);
    EXPECT_EQ(later.channels[i].messages.sync_offset == layout.channels[i].messages.sync_offset,
              stays);
  }
  expect_sound(next, later);
}

TEST(ArenaLayout, RefusesToGrowBeyondTheReservedAddresses) {
  const Layout layout({.tp = 2});
  Plan plan(layout, {.reserve_bytes = std::size_t{1} << 20});
  static_cast<void>(plan.slot("a", spec_of({GroupKind::tp}, 100)));
  const ArenaLayout first = arena_layout(plan);
  EXPECT_EQ(first.arena.reserved_bytes, std::size_t{1} << 20);
  Plan next = plan;
  static_cast<void>(next.slot("b", spec_of({GroupKind::tp}, 100'000)));
  try {
    static_cast<void>(arena_layout(first, plan, next));
    ADD_FAILURE() << "grew";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("1.0 MiB are reserved"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(static_cast<void>(arena_layout(next)), Error);
}

TEST(Succession, KeepsEarlierSlotsInOrder) {
  const Layout layout({.tp = 2});
  const auto make = [&](const std::vector<std::string>& names) {
    Plan plan(layout);
    for (const std::string& name : names) {
      static_cast<void>(plan.slot(name, spec_of({GroupKind::tp}, name == "b" ? 3 : 4)));
    }
    return plan;
  };
  const auto refusal = [](const Plan& before, const Plan& next) -> std::string {
    try {
      check_succession(before, next);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(refusal(make({"a", "b"}), make({"a", "b"})), "");
  EXPECT_EQ(refusal(make({"a", "b"}), make({"a", "b", "c"})), "");
  EXPECT_NE(refusal(make({"a", "b"}), make({"a"})).find("slot 1 'b' is missing"),
            std::string::npos);
  EXPECT_NE(refusal(make({"a", "b"}), make({"b", "a"})).find("slot 0 'a' is 'b'"),
            std::string::npos);
  EXPECT_NE(refusal(make({"a"}), Plan(Layout({.tp = 4}))).find("the layout"), std::string::npos);
  EXPECT_NE(refusal(make({"a"}), Plan(layout, {.lanes = 2})).find("the plan's options"),
            std::string::npos);
}

TEST(ArenaLayout, PoolsLieBehindTheSlotsAndStagingHoldsTheirBlocks) {
  for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
    Plan plan(Layout{{.tp = 2, .pp = 2}}, {.symmetry = symmetry});
    static_cast<void>(plan.slot(
        "rows", {.groups = {GroupKind::tp}, .rows_max = 10, .row_elements = 10, .stage = 1}));
    static_cast<void>(plan.pool("a", {.groups = {GroupKind::tp, {GroupKind::world, 300}},
                                      .bytes = 5000,
                                      .block_bytes_max = 4000}));
    static_cast<void>(
        plan.pool("b", {.groups = {GroupKind::attn}, .bytes = 0, .block_bytes_max = 1}));
    static_cast<void>(
        plan.pool("c", {.groups = {GroupKind::pp}, .bytes = 1, .block_bytes_max = 1}));
    const ArenaLayout layout = arena_layout(plan);
    const std::size_t first = layout.pool_offsets[0];
    EXPECT_GE(first, 512U) << "behind the slot";
    EXPECT_EQ(layout.pool_offsets, (std::vector<std::size_t>{first, first + 5120, first + 5120}));
    const std::size_t end = first + 5120 + 256;
    const std::size_t range =
        symmetry == Symmetry::on ? layout.arena.bytes : layout.private_slots.bytes;
    EXPECT_GE(range, end);
    for (const ChannelRegion& channel : layout.channels) {
      const std::size_t wanted = channel.kind == GroupKind::tp      ? 4096
                                 : channel.kind == GroupKind::world ? 512
                                                                    : 256;
      EXPECT_EQ(channel.staging_entry_bytes, wanted) << to_string(channel.kind);
      if (symmetry == Symmetry::off || channel.section) continue;
      EXPECT_GE(channel.sync_offset, end);
    }
  }
}

TEST(ArenaLayout, PoolsOfALaterPlanStayOrGoBehind) {
  const auto plan_with = [](std::size_t first_bytes, bool more) {
    Plan plan(Layout{{.tp = 2}});
    static_cast<void>(plan.pool(
        "first", {.groups = {GroupKind::tp}, .bytes = first_bytes, .block_bytes_max = 512}));
    static_cast<void>(
        plan.pool("second", {.groups = {GroupKind::attn}, .bytes = 512, .block_bytes_max = 512}));
    if (more) {
      static_cast<void>(
          plan.pool("third", {.groups = {GroupKind::world}, .bytes = 768, .block_bytes_max = 512}));
    }
    return plan;
  };
  const Plan before = plan_with(512, false);
  const ArenaLayout first = arena_layout(before);
  const Plan next = plan_with(1024, true);
  check_succession(before, next);
  const ArenaLayout second = arena_layout(first, before, next);
  EXPECT_EQ(second.pool_offsets[1], first.pool_offsets[1]) << "unchanged";
  EXPECT_GE(second.pool_offsets[0], first.arena.bytes);
  EXPECT_GE(second.pool_offsets[2], second.pool_offsets[0] + 1024);
  const auto retired = std::find_if(
      second.unused.begin(), second.unused.end(),
      [](const UnusedRegion& region) { return region.why == UnusedRegion::Why::retired; });
  ASSERT_NE(retired, second.unused.end());
  EXPECT_EQ(retired->name, "first");
  EXPECT_EQ(retired->bytes, 512U);
  EXPECT_THROW(check_succession(next, before), Error);
}

}  // namespace
}  // namespace cohort::heap
