#include "engine/token_exchange.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include <cohort/error.hpp>
#include <cohort/session.hpp>
#include <cohort/world.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

constexpr std::uint32_t kVocabulary = 24;

ModelConfig small_config() {
  ModelConfig config;
  config.layer_count = 1;
  config.hidden_width = 16;
  config.mlp_width = 24;
  config.head_count = 24;
  config.kv_head_count = 24;
  config.head_width = 2;
  config.vocabulary_count = kVocabulary;
  config.context_token_count = 64;
  return config;
}

/// A logit that depends on row and token only; several tokens share the largest.
float logit_of(std::size_t row, std::size_t token) {
  if (row == 3 && token != 17) return -std::numeric_limits<float>::infinity();
  return static_cast<float>((token * 7 + row * 5) % 6);
}

TokenId first_largest(std::size_t row) {
  std::vector<float> logits(kVocabulary);
  for (std::size_t token = 0; token < kVocabulary; ++token) logits[token] = logit_of(row, token);
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

/// One rank's part of the logits of `row_count` rows.
std::vector<float> part_of(std::uint32_t tp, WorldRank rank, std::size_t row_count) {
  const std::size_t part = kVocabulary / tp;
  std::vector<float> values(row_count * part);
  for (std::size_t row = 0; row < row_count; ++row) {
    for (std::size_t i = 0; i < part; ++i) {
      values[row * part + i] = logit_of(row, rank.index() * part + i);
    }
  }
  return values;
}

/// A step in which replica i has `counts[i]` last rows; request numbers tell row from request.
StepRows rows_with(const Layout& layout, const std::vector<std::size_t>& counts) {
  StepRows rows{.rows = BatchRows::by_replica(layout, counts),
                .last_rows = BatchRows::by_replica(layout, counts),
                .tokens = {},
                .runs = {},
                .cached_runs = {},
                .own_last_rows = {},
                .requests = {},
                .replica_last_counts = counts};
  rows.requests.resize(std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
  std::iota(rows.requests.begin(), rows.requests.end(), 100);
  return rows;
}

/// Runs `choose` for a few steps on ranks as threads; each must give `wanted(row)` on every rank.
template <typename Wanted>
void expect_choices(const LayoutSizes& sizes, TokenChoice choice, const Wanted& wanted) {
  const Layout layout(sizes);
  const auto body = [&](World& world) {
    Plan plan(layout);
    const EngineSpec spec{.dtype = DType::f32, .maxima = {16, 4, 8}, .choice = choice};
    const EngineSlots slots = plan_slots(plan, small_config(), spec);
    Session session = commit(world, plan);
    TokenExchange exchange(session, slots, world.rank());
    const auto pick = [](std::size_t request, std::span<const float> logits) {
      EXPECT_EQ(logits.size(), kVocabulary);
      for (std::size_t token = 0; token < logits.size(); ++token) {
        EXPECT_EQ(logits[token], logit_of(request - 100, token));
      }
      return static_cast<TokenId>(request % kVocabulary);
    };
    for (std::size_t step = 0; step < 5; ++step) {
      std::vector<std::size_t> counts(sizes.attn_dp);
      for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = (step + 2 * i) % 5;
      const StepRows rows = rows_with(layout, counts);
      const auto part = part_of(sizes.tp, world.rank(), rows.requests.size());
      const std::size_t width = kVocabulary / sizes.tp;
      const auto tokens =
          exchange.choose(rows, {part.data(), world.rank().index() * width, width}, pick);
      EXPECT_EQ(tokens.size(), rows.requests.size());
      for (std::size_t row = 0; row < tokens.size(); ++row) EXPECT_EQ(tokens[row], wanted(row));
    }
    session.close();
    return std::string();
  };
  test::expect_no_errors(test::run_ranks(test::RankMode::threads, layout.world_size(), body));
}

const std::vector<LayoutSizes> kLayouts = {
    {.tp = 1},
    {.tp = 3},
    {.tp = 2, .attn_dp = 2},
    {.tp = 4, .attn_cp = 2},
    {.tp = 4, .attn_dp = 2},
    {.tp = 8, .attn_dp = 2, .attn_cp = 2},
};

TEST(TokenExchange, GreedyTakesTheLowestOfTheLikeliest) {
  for (const LayoutSizes& sizes : kLayouts) {
    SCOPED_TRACE("tp " + std::to_string(sizes.tp));
    expect_choices(sizes, TokenChoice::greedy, first_largest);
  }
}

TEST(TokenExchange, PickerSeesAllLogitsAndAllRanksHearOfIt) {
  for (const LayoutSizes& sizes : kLayouts) {
    SCOPED_TRACE("tp " + std::to_string(sizes.tp));
    expect_choices(sizes, TokenChoice::sampled,
                   [](std::size_t row) { return static_cast<TokenId>((row + 100) % kVocabulary); });
  }
}

TEST(TokenExchange, BestCandidatePrefersTheLowerToken) {
  const std::vector<float> logits = {1, 3, 3, 2};
  const Candidate best = best_candidate(logits, 10);
  EXPECT_EQ(best.token, 11);
  EXPECT_EQ(best.logit, 3);
}

TEST(TokenExchange, OneNanAmongTheLogitsIsFoundOnEveryRank) {
  for (const std::size_t place : {0U, 11U, 23U}) {
    const auto body = [&](World& world) {
      Plan plan(Layout({.tp = 4, .attn_dp = 2}));
      const EngineSpec spec{
          .dtype = DType::f32, .maxima = {16, 4, 8}, .choice = TokenChoice::greedy};
      const EngineSlots slots = plan_slots(plan, small_config(), spec);
      Session session = commit(world, plan);
      TokenExchange exchange(session, slots, world.rank());
      const StepRows rows = rows_with(plan.layout(), {1, 1});
      std::vector<float> part(2 * 6, 1.0F);
      if (world.rank().index() == place / 6) {
        part[6 + place % 6] = std::numeric_limits<float>::quiet_NaN();
      }
      std::string message = "no error";
      try {
        exchange.choose(rows, {part.data(), world.rank().index() * 6, 6},
                        [](std::size_t, std::span<const float>) { return TokenId{0}; });
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::corrupt);
        message = error.what();
      }
      session.close();
      return message;
    };
    for (const auto& result : test::run_ranks(test::RankMode::threads, 4, body)) {
      EXPECT_EQ(result.output,
                "the model gives no finite logit for prompt 102; its file is damaged");
    }
  }
}

}  // namespace
}  // namespace cohort
