#include "heap/pools.hpp"

#include <random>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort::heap {
namespace {

const Layout kLayout{{.tp = 4, .attn_cp = 2}};

Plan two_pools() {
  Plan plan(kLayout);
  static_cast<void>(
      plan.slot("rows", {.groups = {GroupKind::tp}, .rows_max = 10, .row_elements = 10}));
  static_cast<void>(plan.pool("shared", {.groups = {GroupKind::tp, {GroupKind::attn_cp, 700}},
                                         .bytes = 8 * 1024,
                                         .block_bytes_max = 4 * 1024}));
  static_cast<void>(
      plan.pool("world", {.groups = {GroupKind::world}, .bytes = 1024, .block_bytes_max = 1024}));
  return plan;
}

class PoolsTest : public testing::Test {
 protected:
  PoolsTest() : memory_(layout_.arena.bytes) {}
  Plan plan_ = two_pools();
  ArenaLayout layout_ = arena_layout(plan_);
  std::vector<std::byte> memory_;
  Pools pools_{plan_, layout_, memory_.data(), 4};
};

TEST_F(PoolsTest, BlocksLieInThePoolOfTheirGroup) {
  const auto scope = pools_.open_scope();
  const auto tp = pools_.allocate(GroupKind::tp, 300, scope);
  const auto world = pools_.allocate(GroupKind::world, 100, scope);
  ASSERT_TRUE(tp && world);
  EXPECT_EQ(pools_.block(*tp).data, memory_.data() + layout_.pool_offsets[0]);
  EXPECT_EQ(pools_.block(*world).data, memory_.data() + layout_.pool_offsets[1]);
  EXPECT_FALSE(pools_.allocate(GroupKind::attn, 10, scope).has_value()) << "no pool serves it";
  const auto found = pools_.locate(pools_.block(*tp).data + 299, 1);
  ASSERT_TRUE(found && found->is_live);
  EXPECT_EQ(found->id, *tp);
  EXPECT_EQ(found->group, GroupKind::tp);
  EXPECT_EQ(found->offset, layout_.pool_offsets[0] + 299);
  EXPECT_TRUE(pools_.locate(pools_.block(*tp).data + 299, 300)->runs_past_end);
  EXPECT_FALSE(pools_.locate(memory_.data(), 1).has_value()) << "a slot is no block";
  pools_.release(*tp);
  const auto freed = pools_.locate(memory_.data() + layout_.pool_offsets[0], 1);
  ASSERT_TRUE(freed.has_value());
  EXPECT_FALSE(freed->is_live);
  pools_.close_scope(scope);
}

TEST_F(PoolsTest, LargestBlocksArePlannedByGroup) {
  const auto scope = pools_.open_scope();
  EXPECT_TRUE(pools_.allocate(GroupKind::tp, 4 * 1024, scope).has_value());
  EXPECT_FALSE(pools_.allocate(GroupKind::tp, 4 * 1024 + 1, scope).has_value());
  EXPECT_TRUE(pools_.allocate(GroupKind::attn_cp, 768, scope).has_value());
  EXPECT_FALSE(pools_.allocate(GroupKind::attn_cp, 769, scope).has_value());
  pools_.close_scope(scope);
  EXPECT_EQ(pools_.use_of(PoolId{0}).live_blocks, 0U);
  EXPECT_EQ(pools_.use_of(PoolId{0}).peak_bytes, 4 * 1024 + 768);
}

TEST_F(PoolsTest, AScopeEndsInReverseOrder) {
  const auto outer = pools_.open_scope();
  const auto inner = pools_.open_scope();
  std::vector<BlockId> blocks;
  for (int i = 0; i < 4; ++i) {
    blocks.push_back(pools_.allocate(GroupKind::tp, 256, i % 2 == 0 ? inner : outer).value());
  }
  const auto serial = pools_.block(blocks[2]).serial;
  EXPECT_TRUE(pools_.holds(inner, blocks[2], serial));
  EXPECT_FALSE(pools_.holds(outer, blocks[2], serial));
  pools_.close_scope(inner);
  EXPECT_FALSE(pools_.holds(inner, blocks[2], serial));
  pools_.close_scope(outer);
  // Blocks lay at 0, 256, 512, 768; the steps are the four allocations, then 2, 0 and 3, 1.
  ScopeHistory wanted;
  for (const std::size_t offset : {0U, 256U, 512U, 768U}) {
    wanted.fold({.bytes = 256, .offset = offset, .group = GroupKind::tp});
  }
  for (const std::size_t offset : {512U, 0U, 768U, 256U}) {
    wanted.fold(
        {.bytes = 256, .offset = offset, .group = GroupKind::tp, .kind = ScopeStep::Kind::release});
  }
  EXPECT_EQ(pools_.history().summary(), wanted.summary());
}

TEST_F(PoolsTest, OrdinaryBlocksAreKnownByAddressAndCounted) {
  EXPECT_FALSE(pools_.has_ordinary());
  const auto scope = pools_.open_scope();
  const BlockId over = pools_.allocate_ordinary(GroupKind::tp, 10'000, Reason::over_budget, scope);
  const BlockId off = pools_.allocate_ordinary(GroupKind::attn_cp, 0, Reason::disabled, scope);
  std::byte* data = pools_.block(over).data;
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 256, 0U);
  EXPECT_EQ(pools_.reason_at(data), Reason::over_budget);
  EXPECT_EQ(pools_.reason_at(data + 10'000), Reason::over_budget) << "no rows at its end";
  EXPECT_EQ(pools_.reason_at(pools_.block(off).data), Reason::disabled);
  EXPECT_EQ(pools_.reason_at(&over), Reason::ok);
  EXPECT_EQ(pools_.reason_at(nullptr), Reason::ok);
  const auto found = pools_.locate(data + 9'999, 2);
  ASSERT_TRUE(found && found->is_ordinary);
  EXPECT_TRUE(found->runs_past_end);
  pools_.release(off);
  pools_.close_scope(scope);
  EXPECT_FALSE(pools_.has_ordinary());
  const PoolUse use = pools_.use_of(PoolId{0});
  EXPECT_EQ(use.over_budget_blocks, 1U);
  EXPECT_EQ(use.over_budget_bytes, 10'000U);
  EXPECT_EQ(use.peak_bytes, 0U);
}

// What a rank's own ordinary memory does must not move the pool's blocks.
TEST_F(PoolsTest, PlacementDoesNotDependOnAddresses) {
  std::vector<std::byte> other_memory(layout_.arena.bytes + 4096);
  Pools other(plan_, layout_, other_memory.data() + 512, 4);
  std::mt19937 random(4);
  std::vector<BlockId> live;
  const auto scope = pools_.open_scope();
  const auto other_scope = other.open_scope();
  std::vector<BlockId> other_live;
  for (int step = 0; step < 3000; ++step) {
    if (live.empty() || random() % 2 == 0) {
      const GroupKind group = random() % 2 == 0 ? GroupKind::tp : GroupKind::attn_cp;
      const std::size_t bytes = random() % 700;
      const auto mine = pools_.allocate(group, bytes, scope);
      const auto theirs = other.allocate(group, bytes, other_scope);
      ASSERT_EQ(mine.has_value(), theirs.has_value());
      live.push_back(mine ? *mine
                          : pools_.allocate_ordinary(group, bytes, Reason::over_budget, scope));
      other_live.push_back(
          theirs ? *theirs
                 : other.allocate_ordinary(group, bytes, Reason::over_budget, other_scope));
    } else {
      const auto index = static_cast<std::ptrdiff_t>(random() % live.size());
      pools_.release(live[static_cast<std::size_t>(index)]);
      other.release(other_live[static_cast<std::size_t>(index)]);
      live.erase(live.begin() + index);
      other_live.erase(other_live.begin() + index);
    }
    ASSERT_EQ(pools_.history().summary(), other.history().summary());
  }
  EXPECT_GT(pools_.use_of(PoolId{0}).over_budget_blocks, 0U);
}

}  // namespace
}  // namespace cohort::heap
