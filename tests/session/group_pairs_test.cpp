// Every pair (groups that an operand's memory is for, group of the call), for layouts of up to 16
// ranks: the right result, or a refusal on all members.

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "contract/reference_values.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

/// More than travels inline, in a group of any size.
constexpr std::size_t kLargeElements = 4'000;
constexpr std::size_t kSmallElements = 3;

bool names(const std::vector<GroupKind>& groups, GroupKind kind) {
  return std::find(groups.begin(), groups.end(), kind) != groups.end();
}

/// One all_reduce of what lies at `data`; it must be right if `allowed`, else refused.
void expect_call(const Group& group, WorldRank rank, void* data, std::size_t elements,
                 bool allowed) {
  const std::uint64_t seed = 77 + static_cast<std::uint64_t>(group.kind());
  contract::fill(data, seed, rank, 0, elements, DType::f32);
  const std::string context = std::string(to_string(group.kind())) + " on rank " +
                              std::to_string(rank.index()) + ", " + std::to_string(elements);
  try {
    const Verdict verdict = group.all_reduce({data, elements, DType::f32}, ReduceOp::sum);
    EXPECT_TRUE(allowed) << "not refused: " << context;
    EXPECT_EQ(verdict.copied_bytes, 0U) << context;
    EXPECT_EQ(verdict.reason, group.size() == 1 ? Reason::group_size_one : Reason::ok) << context;
  } catch (const Error& error) {
    EXPECT_FALSE(allowed) << error.what();
    EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    EXPECT_NE(std::string(error.what()).find(to_string(group.kind())), std::string::npos)
        << error.what();
    return;
  }
  for (std::size_t i = 0; i < elements; ++i) {
    ASSERT_EQ(contract::bits_at(data, i, DType::f32),
              contract::reduced_bits(seed, group.ranks(), i, DType::f32, ReduceOp::sum))
        << context << " element " << i;
  }
}

void run_pairs(const Layout& layout) {
  // Slots of one group each, and of two; blocks of one group each, in pools of two.
  std::vector<std::vector<GroupKind>> sets;
  const auto kinds = all_group_kinds();
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    sets.push_back({kinds[i]});
    sets.push_back({kinds[i], kinds[(i * 5 + 3) % kinds.size()]});
  }
  const auto results =
      test::run_ranks(test::RankMode::threads, layout.world_size(), [&](World& world) {
        Plan plan(layout);
        for (const auto& set : sets) {
          static_cast<void>(plan.slot(
              "s" + std::to_string(plan.slots().size()),
              {.groups = set, .dtype = DType::f32, .rows_max = kLargeElements, .row_elements = 1}));
        }
        for (std::size_t i = 0; i < kinds.size(); i += 2) {
          static_cast<void>(
              plan.pool("p" + std::to_string(i), {.groups = {kinds[i], kinds[i + 1]},
                                                  .bytes = 2 * 16'128,
                                                  .block_bytes_max = kLargeElements * 4}));
        }
        Session session = commit(world, plan);
        for (const GroupKind kind : kinds) {
          const bool is_member = !layout.group_of(kind, world.rank()).empty();
          for (std::uint32_t slot = 0; slot < sets.size(); ++slot) {
            for (const std::size_t elements : {kSmallElements, kLargeElements}) {
              const Buffer buffer = session.take(SlotId{slot});
              if (!is_member) continue;
              expect_call(session.group(kind), world.rank(), buffer.data(), elements,
                          names(sets[slot], kind));
            }
          }
          for (const GroupKind owner : kinds) {
            for (const std::size_t elements : {kSmallElements, kLargeElements}) {
              Scope scope = session.scope(owner);
              const Buffer block = scope.allocate(DType::f32, elements, 1);
              if (!is_member) continue;
              expect_call(session.group(kind), world.rank(), block.data(), elements, owner == kind);
            }
          }
        }
        session.verify();
        session.close();
        return std::string("done");
      });
  test::expect_no_errors(results);
}

TEST(GroupPairs, RightResultOrRefusalOnAllMembers) {
  const std::vector<LayoutSizes> layouts = {
      {},
      {.tp = 2},
      {.tp = 3, .attn_cp = 3},
      {.tp = 2, .pp = 2},
      {.tp = 4, .attn_dp = 2, .attn_cp = 2, .ep = 2, .dcp = 2, .ranks_per_host = 2},
      {.tp = 6, .attn_dp = 3, .ep = 2, .moe_dp = 3, .dcp = 2},
  };
  for (const LayoutSizes& sizes : layouts) {
    SCOPED_TRACE(std::to_string(sizes.tp) + " x " + std::to_string(sizes.pp));
    run_pairs(Layout(sizes));
  }
}

TEST(GroupPairs, RightResultOrRefusalOnAllMembersOfLargeLayouts) {
  const std::vector<LayoutSizes> layouts = {
      {.tp = 8, .attn_dp = 2, .attn_cp = 2, .ep = 4, .moe_dp = 2, .dcp = 4, .ranks_per_host = 4},
      {.tp = 4, .attn_dp = 4, .pp = 3},
      {.tp = 16, .attn_dp = 4, .attn_cp = 2, .ep = 8, .moe_dp = 1, .dcp = 8, .ranks_per_host = 8},
      {.tp = 8, .attn_cp = 4, .ep = 2, .pp = 2, .ranks_per_host = 8},
  };
  for (const LayoutSizes& sizes : layouts) {
    SCOPED_TRACE(std::to_string(sizes.tp) + " x " + std::to_string(sizes.pp));
    run_pairs(Layout(sizes));
  }
}

}  // namespace
}  // namespace cohort
