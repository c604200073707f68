// What one arena for all groups saves against a pool for each; the figures of docs/questions.md.

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/plan.hpp>

namespace cohort {
namespace {

constexpr std::size_t kBudget = std::size_t{256} << 20;
constexpr std::size_t kLargestBlock = std::size_t{16} << 20;

Plan plan_of(std::size_t group_count, bool pool_for_each) {
  const std::vector<PoolGroup> kinds = {GroupKind::tp,     GroupKind::attn_cp, GroupKind::attn_tp,
                                        GroupKind::moe_ep, GroupKind::attn,    GroupKind::moe_tp,
                                        GroupKind::moe_dp, GroupKind::dcp};
  const auto last = kinds.begin() + static_cast<std::ptrdiff_t>(group_count);
  Plan plan(Layout({.tp = 8, .attn_dp = 2, .attn_cp = 2, .ep = 4, .dcp = 2}));
  if (!pool_for_each) {
    static_cast<void>(plan.pool(
        "shared",
        {.groups = {kinds.begin(), last}, .bytes = kBudget, .block_bytes_max = kLargestBlock}));
    return plan;
  }
  for (auto kind = kinds.begin(); kind != last; ++kind) {
    static_cast<void>(
        plan.pool(std::string(to_string(kind->kind)),
                  {.groups = {*kind}, .bytes = kBudget, .block_bytes_max = kLargestBlock}));
  }
  return plan;
}

std::size_t pool_bytes(const Footprint& planned) {
  std::size_t sum = 0;
  for (const FootprintRow& row : planned.rows) {
    if (row.kind == FootprintRow::Kind::pool) sum += row.bytes;
  }
  return sum;
}

double to_mib(std::size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

std::string text_of_questions() {
  std::ifstream file(COHORT_TEST_DATA "/../docs/questions.md");
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ArenaSharing, OneBudgetServesAnyNumberOfGroups) {
  const std::string document = text_of_questions();
  for (const std::size_t groups : {1U, 2U, 4U, 8U}) {
    const Footprint shared = footprint(plan_of(groups, false));
    const Footprint apart = footprint(plan_of(groups, true));
    EXPECT_EQ(pool_bytes(shared), kBudget);
    EXPECT_EQ(pool_bytes(apart), groups * kBudget);
    // Staging and words are a group's own either way.
    EXPECT_EQ(apart.arena_bytes - shared.arena_bytes, (groups - 1) * kBudget);
    std::array<char, 64> row{};
    std::snprintf(row.data(), row.size(), "| %zu | %.1f MiB | %.1f MiB |", groups,
                  to_mib(apart.arena_bytes), to_mib(shared.arena_bytes));
    EXPECT_NE(document.find(row.data()), std::string::npos)
        << row.data() << " is not in docs/questions.md";
  }
}

}  // namespace
}  // namespace cohort
