#include <functional>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>
#include <cohort/layout.hpp>

namespace cohort {
namespace {

using RankLists = std::vector<std::vector<std::uint32_t>>;

RankLists lists_of(const Layout& layout, GroupKind kind) {
  RankLists lists;
  for (const auto& group : layout.groups(kind)) {
    auto& list = lists.emplace_back();
    for (const WorldRank rank : group) {
      list.push_back(rank.index());
    }
  }
  return lists;
}

std::vector<std::uint32_t> divisors_of(std::uint32_t n) {
  std::vector<std::uint32_t> divisors;
  for (std::uint32_t d = 1; d <= n; ++d) {
    if (n % d == 0) {
      divisors.push_back(d);
    }
  }
  return divisors;
}

/// The independent formula: nested loops over coordinates count the ranks up, slowest axis first,
/// and ranks that agree in all coordinates but the named one share a group.
using Axes = std::vector<std::pair<std::string, std::uint32_t>>;

RankLists expected_lists(const Axes& axes, const std::string& varying) {
  std::map<std::vector<std::uint32_t>, std::vector<std::uint32_t>> by_fixed;
  std::uint32_t next_rank = 0;
  std::vector<std::uint32_t> fixed;
  const std::function<void(std::size_t)> walk = [&](std::size_t axis) {
    if (axis == axes.size()) {
      by_fixed[fixed].push_back(next_rank++);
      return;
    }
    for (std::uint32_t i = 0; i < axes[axis].second; ++i) {
      const bool varies = axes[axis].first == varying;
      if (!varies) {
        fixed.push_back(i);
      }
      walk(axis + 1);
      if (!varies) {
        fixed.pop_back();
      }
    }
  };
  walk(0);
  RankLists lists;
  for (auto& [key, list] : by_fixed) {
    lists.push_back(std::move(list));
  }
  return lists;
}

RankLists expected_lists(const LayoutSizes& s, GroupKind kind) {
  const std::uint32_t attn_tp = s.tp / (s.attn_dp * s.attn_cp);
  const std::uint32_t moe_tp = s.tp / (s.ep * s.moe_dp);
  const std::uint32_t world = s.tp * s.pp;
  const std::uint32_t per_host = s.ranks_per_host == 0 ? world : s.ranks_per_host;
  const Axes attention{{"pp", s.pp}, {"dp", s.attn_dp}, {"cp", s.attn_cp}, {"tp", attn_tp}};
  const Axes moe{{"pp", s.pp}, {"dp", s.moe_dp}, {"ep", s.ep}, {"tp", moe_tp}};
  switch (kind) {
    case GroupKind::world: return expected_lists({{"all", world}}, "all");
    case GroupKind::tp: return expected_lists({{"pp", s.pp}, {"tp", s.tp}}, "tp");
    case GroupKind::pp: return expected_lists({{"pp", s.pp}, {"tp", s.tp}}, "pp");
    case GroupKind::attn_tp: return expected_lists(attention, "tp");
    case GroupKind::attn_cp: return expected_lists(attention, "cp");
    case GroupKind::attn:
      return expected_lists({{"pp", s.pp}, {"dp", s.attn_dp}, {"attn", s.attn_cp * attn_tp}},
                            "attn");
    case GroupKind::moe_ep: return expected_lists(moe, "ep");
    case GroupKind::moe_tp: return expected_lists(moe, "tp");
    case GroupKind::moe_dp: return expected_lists(moe, "dp");
    case GroupKind::dcp:
      return expected_lists({{"pp", s.pp}, {"chunk", s.tp / s.dcp}, {"dcp", s.dcp}}, "dcp");
    case GroupKind::host:
      return expected_lists({{"host", world / per_host}, {"rank", per_host}}, "rank");
    case GroupKind::leaders:
      return {expected_lists({{"host", world / per_host}, {"rank", per_host}}, "host").front()};
  }
  return {};
}

void expect_group_queries_agree(const Layout& layout, GroupKind kind) {
  const auto groups = layout.groups(kind);
  std::uint32_t found = 0;
  for (std::uint32_t r = 0; r < layout.world_size(); ++r) {
    const WorldRank rank{r};
    const auto index = layout.group_index(kind, rank);
    const auto members = layout.group_of(kind, rank);
    if (!index) {
      ASSERT_EQ(kind, GroupKind::leaders);
      ASSERT_TRUE(members.empty());
      continue;
    }
    ++found;
    ASSERT_LT(*index, groups.size());
    ASSERT_EQ(members.data(), groups[*index].data());
    ASSERT_EQ(members.size(), layout.group_size(kind));
    ASSERT_NE(std::find(members.begin(), members.end(), rank), members.end());
  }
  ASSERT_EQ(found, layout.group_size(kind) * groups.size());
}

void expect_layout(const LayoutSizes& sizes, std::span<const GroupKind> kinds) {
  const Layout layout(sizes);
  for (const GroupKind kind : kinds) {
    SCOPED_TRACE(to_string(kind));
    ASSERT_EQ(lists_of(layout, kind), expected_lists(sizes, kind));
    ASSERT_NO_FATAL_FAILURE(expect_group_queries_agree(layout, kind));
  }
}

/// Calls `visit` for every (tp, pp) with at most `world_max` ranks.
void for_each_world(std::uint32_t world_max, const std::function<void(LayoutSizes)>& visit) {
  for (std::uint32_t tp = 1; tp <= world_max; ++tp) {
    for (std::uint32_t pp = 1; tp * pp <= world_max; ++pp) {
      visit({.tp = tp, .pp = pp});
    }
  }
}

/// Calls `visit` for every ordered pair of numbers whose product divides `n`.
void for_each_pair(std::uint32_t n,
                   const std::function<void(std::uint32_t, std::uint32_t)>& visit) {
  for (const std::uint32_t first : divisors_of(n)) {
    for (const std::uint32_t second : divisors_of(n / first)) {
      visit(first, second);
    }
  }
}

// The groups of one axis family depend on no other family's sizes (the full product up to 12 ranks
// below shows it), so the sweep to 64 ranks takes the families one after another.
TEST(Layout, GroupsOfAttentionEqualTheCoordinatesUpTo64Ranks) {
  for_each_world(64, [](LayoutSizes sizes) {
    const GroupKind kinds[] = {GroupKind::world,   GroupKind::tp,      GroupKind::pp,
                               GroupKind::attn_tp, GroupKind::attn_cp, GroupKind::attn};
    for_each_pair(sizes.tp, [&](std::uint32_t attn_dp, std::uint32_t attn_cp) {
      sizes.attn_dp = attn_dp;
      sizes.attn_cp = attn_cp;
      ASSERT_NO_FATAL_FAILURE(expect_layout(sizes, kinds));
    });
  });
}

TEST(Layout, GroupsOfExpertsEqualTheCoordinatesUpTo64Ranks) {
  for_each_world(64, [](LayoutSizes sizes) {
    const GroupKind kinds[] = {GroupKind::moe_ep, GroupKind::moe_tp, GroupKind::moe_dp};
    for_each_pair(sizes.tp, [&](std::uint32_t ep, std::uint32_t moe_dp) {
      sizes.ep = ep;
      sizes.moe_dp = moe_dp;
      ASSERT_NO_FATAL_FAILURE(expect_layout(sizes, kinds));
    });
  });
}

TEST(Layout, GroupsOfDecodeAndHostsEqualTheCoordinatesUpTo64Ranks) {
  for_each_world(64, [](LayoutSizes sizes) {
    const GroupKind decode[] = {GroupKind::dcp};
    for (const std::uint32_t dcp : divisors_of(sizes.tp)) {
      sizes.dcp = dcp;
      ASSERT_NO_FATAL_FAILURE(expect_layout(sizes, decode));
    }
    const GroupKind hosts[] = {GroupKind::host, GroupKind::leaders};
    for (const std::uint32_t per_host : divisors_of(sizes.tp * sizes.pp)) {
      sizes.ranks_per_host = per_host;
      ASSERT_NO_FATAL_FAILURE(expect_layout(sizes, hosts));
    }
  });
}

TEST(Layout, FamiliesDoNotInfluenceEachOther) {
  for_each_world(12, [](LayoutSizes sizes) {
    for_each_pair(sizes.tp, [&](std::uint32_t attn_dp, std::uint32_t attn_cp) {
      for_each_pair(sizes.tp, [&](std::uint32_t ep, std::uint32_t moe_dp) {
        for (const std::uint32_t dcp : divisors_of(sizes.tp)) {
          for (const std::uint32_t per_host : divisors_of(sizes.tp * sizes.pp)) {
            ASSERT_NO_FATAL_FAILURE(expect_layout({.tp = sizes.tp,
                                                   .attn_dp = attn_dp,
                                                   .attn_cp = attn_cp,
                                                   .ep = ep,
                                                   .moe_dp = moe_dp,
                                                   .pp = sizes.pp,
                                                   .dcp = dcp,
                                                   .ranks_per_host = per_host},
                                                  all_group_kinds()));
          }
        }
      });
    });
  });
}

TEST(Layout, RankCoordinatesEqualTheCoordinatesUpTo64Ranks) {
  for_each_world(64, [](LayoutSizes sizes) {
    for_each_pair(sizes.tp, [&](std::uint32_t attn_dp, std::uint32_t attn_cp) {
      sizes.attn_dp = attn_dp;
      sizes.attn_cp = attn_cp;
      const Layout layout(sizes);
      std::vector<std::uint32_t> digits(4, 0);  // stage, dp, cp, tp: an odometer
      const std::uint32_t widths[] = {sizes.pp, attn_dp, attn_cp, layout.attn_tp()};
      for (std::uint32_t r = 0; r < layout.world_size(); ++r) {
        ASSERT_EQ(layout.attn_dp_rank(WorldRank{r}), digits[1]);
        ASSERT_EQ(layout.attn_cp_rank(WorldRank{r}), digits[2]);
        ASSERT_EQ(layout.attn_tp_rank(WorldRank{r}), digits[3]);
        for (std::size_t axis = 4; axis-- > 0 && ++digits[axis] == widths[axis];) {
          digits[axis] = 0;
        }
      }
    });
  });
}

TEST(Layout, KnownExampleOfAllAxes) {
  const Layout layout({.tp = 8, .attn_dp = 2, .attn_cp = 2, .ep = 4, .moe_dp = 2, .dcp = 2});
  EXPECT_EQ(layout.attn_tp(), 2u);
  EXPECT_EQ(layout.moe_tp(), 1u);
  EXPECT_EQ(lists_of(layout, GroupKind::attn_tp), (RankLists{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
  EXPECT_EQ(lists_of(layout, GroupKind::attn_cp), (RankLists{{0, 2}, {1, 3}, {4, 6}, {5, 7}}));
  EXPECT_EQ(lists_of(layout, GroupKind::attn), (RankLists{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  EXPECT_EQ(lists_of(layout, GroupKind::moe_ep), (RankLists{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  EXPECT_EQ(lists_of(layout, GroupKind::moe_tp),
            (RankLists{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}));
  EXPECT_EQ(lists_of(layout, GroupKind::moe_dp), (RankLists{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(lists_of(layout, GroupKind::dcp), (RankLists{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
  EXPECT_EQ(lists_of(layout, GroupKind::leaders), (RankLists{{0}}));
}

TEST(Layout, KnownExamplesOfExperts) {
  const Layout wide({.tp = 8, .attn_dp = 4, .ep = 4});
  EXPECT_EQ(wide.attn_tp(), 2u);
  EXPECT_EQ(lists_of(wide, GroupKind::moe_ep), (RankLists{{0, 2, 4, 6}, {1, 3, 5, 7}}));
  EXPECT_EQ(lists_of(wide, GroupKind::moe_tp), (RankLists{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
  const Layout staged({.tp = 4, .attn_dp = 2, .ep = 2, .pp = 2});
  EXPECT_EQ(lists_of(staged, GroupKind::tp), (RankLists{{0, 1, 2, 3}, {4, 5, 6, 7}}));
  EXPECT_EQ(lists_of(staged, GroupKind::pp), (RankLists{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(lists_of(staged, GroupKind::moe_ep), (RankLists{{0, 2}, {1, 3}, {4, 6}, {5, 7}}));
  const Layout chunked({.tp = 8, .attn_cp = 2, .ep = 4, .moe_dp = 2});
  EXPECT_EQ(lists_of(chunked, GroupKind::attn_cp), (RankLists{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(lists_of(chunked, GroupKind::attn_tp), (RankLists{{0, 1, 2, 3}, {4, 5, 6, 7}}));
}

TEST(Layout, AttnEqualsTpWithoutDataParallelAttention) {
  const Layout layout({.tp = 4, .attn_cp = 2});
  EXPECT_EQ(lists_of(layout, GroupKind::attn), lists_of(layout, GroupKind::tp));
}

TEST(Layout, HostsAndLeaders) {
  const Layout layout({.tp = 4, .pp = 2, .ranks_per_host = 2});
  EXPECT_EQ(lists_of(layout, GroupKind::host), (RankLists{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
  EXPECT_EQ(lists_of(layout, GroupKind::leaders), (RankLists{{0, 2, 4, 6}}));
  EXPECT_EQ(layout.group_index(GroupKind::leaders, WorldRank{3}), std::nullopt);
  EXPECT_TRUE(layout.group_of(GroupKind::leaders, WorldRank{3}).empty());
}

TEST(Layout, RanksPerHostOfZeroMeansAll) {
  const Layout all({.tp = 4, .pp = 2});
  EXPECT_EQ(all.sizes().ranks_per_host, 8u);
  EXPECT_EQ(all, Layout({.tp = 4, .pp = 2, .ranks_per_host = 8}));
  EXPECT_NE(all, Layout({.tp = 4, .pp = 2, .ranks_per_host = 4}));
}

TEST(Layout, RankOutsideTheWorldIsInNoGroup) {
  const Layout layout({.tp = 4});
  for (const GroupKind kind : all_group_kinds()) {
    EXPECT_EQ(layout.group_index(kind, WorldRank{4}), std::nullopt);
    EXPECT_TRUE(layout.group_of(kind, WorldRank{0xffffffff}).empty());
  }
}

struct BadSizes {
  LayoutSizes sizes;
  const char* message;
};

TEST(Layout, RefusesSizesNamingBothFlags) {
  const BadSizes cases[] = {
      {{.tp = 0}, "--tp must be at least 1, not 0"},
      {{.attn_dp = 0}, "--attn-dp must be at least 1, not 0"},
      {{.attn_cp = 0}, "--attn-cp must be at least 1, not 0"},
      {{.ep = 0}, "--ep must be at least 1, not 0"},
      {{.moe_dp = 0}, "--moe-dp must be at least 1, not 0"},
      {{.pp = 0}, "--pp must be at least 1, not 0"},
      {{.dcp = 0}, "--dcp must be at least 1, not 0"},
      {{.tp = 6, .attn_dp = 4}, "--tp 6 is not divisible by --attn-dp 4 x --attn-cp 1"},
      {{.tp = 8, .attn_dp = 2, .attn_cp = 3},
       "--tp 8 is not divisible by --attn-dp 2 x --attn-cp 3"},
      {{.tp = 2, .attn_cp = 4}, "--tp 2 is not divisible by --attn-dp 1 x --attn-cp 4"},
      {{.tp = 8, .ep = 3}, "--tp 8 is not divisible by --ep 3 x --moe-dp 1"},
      {{.tp = 8, .ep = 4, .moe_dp = 4}, "--tp 8 is not divisible by --ep 4 x --moe-dp 4"},
      {{.tp = 8, .dcp = 3}, "--tp 8 is not divisible by --dcp 3"},
      {{.tp = 4, .pp = 2, .ranks_per_host = 3},
       "the 8 ranks of --tp 4 x --pp 2 are not divisible by --ranks-per-host 3"},
      {{.tp = 4, .ranks_per_host = 8},
       "the 4 ranks of --tp 4 x --pp 1 are not divisible by --ranks-per-host 8"},
      {{.tp = 65536, .pp = 2},
       "--tp 65536 x --pp 2 makes 131072 ranks; at most 65536 are supported"},
      // Products that wrap around in 32 bits must not pass for small ones.
      {{.tp = 65536, .pp = 65536},
       "--tp 65536 x --pp 65536 makes 4294967296 ranks; at most 65536 are supported"},
      {{.tp = 4, .attn_dp = 65536, .attn_cp = 65537},
       "--tp 4 is not divisible by --attn-dp 65536 x --attn-cp 65537"},
  };
  for (const BadSizes& bad : cases) {
    try {
      const Layout layout(bad.sizes);
      ADD_FAILURE() << "accepted: " << bad.message;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_STREQ(error.what(), bad.message);
    }
  }
}

TEST(GroupKind, NamesAreUniqueAndReadBack) {
  EXPECT_EQ(all_group_kinds().size(), kGroupKindCount);
  for (std::size_t i = 0; i < kGroupKindCount; ++i) {
    const GroupKind kind = all_group_kinds()[i];
    EXPECT_EQ(static_cast<std::size_t>(kind), i);
    EXPECT_EQ(group_kind_from_string(to_string(kind)), kind);
  }
  EXPECT_EQ(group_kind_from_string("attn_dp"), std::nullopt);
  EXPECT_EQ(group_kind_from_string(""), std::nullopt);
}

}  // namespace
}  // namespace cohort
