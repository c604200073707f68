#include "model/sampler.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <span>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/expect_error.hpp"

namespace cohort {
namespace {

using test::expect_error;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 3.0F);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

/// How often each token is chosen at positions 0 to `draw_count` - 1.
std::vector<std::size_t> draw(std::span<const float> logits, const SamplingOptions& options,
                              std::size_t draw_count) {
  std::vector<std::size_t> counts(logits.size(), 0);
  for (std::size_t i = 0; i < draw_count; ++i) ++counts.at(sample(logits, options, 0, i));
  return counts;
}

std::set<TokenId> drawn_tokens(std::span<const float> logits, const SamplingOptions& options) {
  std::set<TokenId> tokens;
  const std::vector<std::size_t> counts = draw(logits, options, 4000);
  for (TokenId token = 0; token < counts.size(); ++token) {
    if (counts[token] > 0) tokens.insert(token);
  }
  return tokens;
}

// Computed with arbitrary-precision integers from the definition in the header.
TEST(RandomUnit, IsAsDefined) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(random_unit(0, 0, 0), 1249383295688599 * 0x1.0p-53);
  EXPECT_EQ(random_unit(1, 2, 3), 3761028642379151 * 0x1.0p-53);
  EXPECT_EQ(random_unit(kMax, kMax, kMax), 2275194826979718 * 0x1.0p-53);
  EXPECT_EQ(random_unit(42, 0, 100), 357776154570503 * 0x1.0p-53);
}

TEST(RandomUnit, EachOfTheThreeNumbersMatters) {
  std::set<double> values;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (std::uint64_t prompt = 0; prompt < 20; ++prompt) {
      for (std::uint64_t position = 0; position < 20; ++position) {
        const double value = random_unit(seed, prompt, position);
        EXPECT_GE(value, 0.0);
        EXPECT_LT(value, 1.0);
        values.insert(value);
      }
    }
  }
  EXPECT_EQ(values.size(), 8000U);
}

TEST(Sampler, GreedyTakesTheLikeliestAndOfEqualsTheLowerId) {
  EXPECT_EQ(sample(std::vector<float>{1.0F, 3.0F, 2.0F}, {}, 0, 0), 1U);
  EXPECT_EQ(sample(std::vector<float>{1.0F, 3.0F, 3.0F}, {}, 0, 0), 1U);
  EXPECT_EQ(sample(std::vector<float>{0.0F, -0.0F, 0.0F}, {}, 0, 0), 0U);
  EXPECT_EQ(sample(std::vector<float>{-kInfinity, -5.0F}, {}, 0, 0), 1U);
  // The other options do not matter then.
  const SamplingOptions options{.top_k = 2, .top_p = 0.5F, .seed = 7};
  EXPECT_EQ(sample(std::vector<float>{1.0F, 3.0F, 2.0F}, options, 5, 9), 1U);
}

TEST(Sampler, OneCandidateIsGreedy) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    std::vector<float> logits = random_logits(100, seed);
    logits[90] = logits[40] = 20.0F;  // a tie at the top
    const SamplingOptions top_k{.temperature = 2.0F, .top_k = 1, .seed = seed};
    const SamplingOptions top_p{.temperature = 2.0F, .top_p = 1e-6F, .seed = seed};
    EXPECT_EQ(sample(logits, top_k, seed, 3), 40U);
    EXPECT_EQ(sample(logits, top_p, seed, 3), 40U);
  }
}

TEST(Sampler, TheSamePlaceGetsTheSameToken) {
  const std::vector<float> logits = random_logits(1000, 1);
  const SamplingOptions options{.temperature = 1.5F, .top_k = 200, .top_p = 0.95F, .seed = 3};
  std::size_t change_count = 0;
  for (std::uint64_t position = 0; position < 100; ++position) {
    const TokenId token = sample(logits, options, 2, position);
    EXPECT_EQ(sample(logits, options, 2, position), token);
    if (sample(logits, options, 3, position) != token) ++change_count;
  }
  EXPECT_GT(change_count, 50U);
}

TEST(Sampler, LimitsThatLeaveNothingOutChangeNothing) {
  const std::vector<float> logits = random_logits(500, 2);
  const SamplingOptions plain{.temperature = 1.0F, .seed = 4};
  SamplingOptions wide = plain;
  SamplingOptions wider = plain;
  wide.top_k = 500;
  wider.top_k = 1'000'000;
  for (std::uint64_t position = 0; position < 300; ++position) {
    const TokenId token = sample(logits, plain, 0, position);
    EXPECT_EQ(sample(logits, wide, 0, position), token);
    EXPECT_EQ(sample(logits, wider, 0, position), token);
  }
}

/// Pearson's statistic of `counts` against probabilities in proportion to `weights`.
double chi_square(const std::vector<std::size_t>& counts, const std::vector<double>& weights) {
  double weight_sum = 0.0;
  double count_sum = 0.0;
  for (const double weight : weights) weight_sum += weight;
  for (const std::size_t count : counts) count_sum += static_cast<double>(count);
  double statistic = 0.0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = count_sum * weights[i] / weight_sum;
    const double difference = static_cast<double>(counts[i]) - expected;
    statistic += difference * difference / expected;
  }
  return statistic;
}

// 7 degrees of freedom: above 24.3 in one of a thousand runs of a right sampler. The seeds are
// fixed, so this one passes always or never.
TEST(Sampler, TokensComeAsOftenAsTheirProbabilitySays) {
  const std::vector<float> logits{0.0F, 1.0F, 2.0F, -1.0F, 0.5F, 2.0F, -2.0F, 1.5F};
  for (const float temperature : {0.5F, 1.0F, 3.0F}) {
    std::vector<double> weights;
    for (const float logit : logits) {
      weights.push_back(std::exp(static_cast<double>(logit) / static_cast<double>(temperature)));
    }
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const SamplingOptions options{.temperature = temperature, .seed = seed};
      EXPECT_LT(chi_square(draw(logits, options, 40'000), weights), 24.3)
          << "temperature " << temperature << ", seed " << seed;
      // The test can tell: with one weight off by a tenth it fails.
      std::vector<double> wrong = weights;
      wrong[2] *= 1.1;
      EXPECT_GT(chi_square(draw(logits, options, 40'000), wrong), 24.3);
    }
  }
}

TEST(Sampler, TopKKeepsTheLikeliestAndOfEqualsTheLowerIds) {
  const std::vector<float> logits{1.0F, 2.0F, 1.0F, 2.0F, 1.0F, 0.0F};
  const auto kept = [&](std::int32_t top_k) {
    return drawn_tokens(logits, {.temperature = 1.0F, .top_k = top_k});
  };
  EXPECT_THAT(kept(1), testing::ElementsAre(1));
  EXPECT_THAT(kept(2), testing::ElementsAre(1, 3));
  EXPECT_THAT(kept(3), testing::ElementsAre(0, 1, 3));
  EXPECT_THAT(kept(4), testing::ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(kept(0), testing::ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  // Probabilities 0.4, 0.3, 0.2, 0.1.
  const std::vector<float> logits{std::log(0.1F), std::log(0.4F), std::log(0.2F), std::log(0.3F)};
  const auto kept = [&](float top_p) {
    return drawn_tokens(logits, {.temperature = 1.0F, .top_p = top_p});
  };
  EXPECT_THAT(kept(0.01F), testing::ElementsAre(1));
  EXPECT_THAT(kept(0.39F), testing::ElementsAre(1));
  EXPECT_THAT(kept(0.41F), testing::ElementsAre(1, 3));
  EXPECT_THAT(kept(0.69F), testing::ElementsAre(1, 3));
  EXPECT_THAT(kept(0.71F), testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(kept(0.91F), testing::ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(kept(1.0F), testing::ElementsAre(0, 1, 2, 3));
}

TEST(Sampler, TopPIsOfWhatTemperatureAndTopKLeave) {
  const std::vector<float> logits{std::log(0.4F), std::log(0.3F), std::log(0.2F), std::log(0.1F)};
  // Of the first two the first is 0.57, so half is reached by it alone.
  EXPECT_THAT(drawn_tokens(logits, {.temperature = 1.0F, .top_k = 2, .top_p = 0.55F}),
              testing::ElementsAre(0));
  EXPECT_THAT(drawn_tokens(logits, {.temperature = 1.0F, .top_p = 0.55F}),
              testing::ElementsAre(0, 1));
  // A high temperature levels them: 0.25 each.
  EXPECT_THAT(drawn_tokens(logits, {.temperature = 100.0F, .top_p = 0.7F}),
              testing::ElementsAre(0, 1, 2));
}

TEST(Sampler, ImpossibleTokensAreNeverChosen) {
  const std::vector<float> logits{-kInfinity, 0.0F, -kInfinity, 0.0F, -kInfinity};
  EXPECT_THAT(drawn_tokens(logits, {.temperature = 1.0F}), testing::ElementsAre(1, 3));
  EXPECT_THAT(drawn_tokens(logits, {.temperature = 1.0F, .top_k = 4}), testing::ElementsAre(1, 3));
  EXPECT_THAT(drawn_tokens(logits, {.temperature = 1.0F, .top_p = 0.999F}),
              testing::ElementsAre(1, 3));
  // So small a temperature leaves weight to the likeliest alone, and overflows nothing.
  const std::vector<float> wide{-3e38F, 3e38F, 1.0F};
  EXPECT_THAT(drawn_tokens(wide, {.temperature = 1e-38F}), testing::ElementsAre(1));
}

TEST(Sampler, WrongLogitsAreAnError) {
  for (const float temperature : {0.0F, 1.0F}) {
    const SamplingOptions options{.temperature = temperature};
    expect_error(ErrorCode::corrupt, "the logit of token 1 is nan (prompt 4, position 9)", [&] {
      sample(std::vector<float>{0.0F, kNan}, options, 4, 9);
    });
    expect_error(ErrorCode::corrupt, "the logit of token 0 is inf", [&] {
      sample(std::vector<float>{kInfinity, 0.0F}, options, 0, 0);
    });
    expect_error(ErrorCode::corrupt, "no token is possible (prompt 4, position 9)", [&] {
      sample(std::vector<float>{-kInfinity, -kInfinity}, options, 4, 9);
    });
    expect_error(ErrorCode::corrupt, "no token is possible",
                 [&] { sample(std::vector<float>{}, options, 0, 0); });
  }
}

TEST(Sampler, OptionsThatMakeNoSenseAreNamed) {
  for (const float temperature : {-0.1F, kNan, kInfinity}) {
    expect_error(ErrorCode::usage, "--temperature",
                 [&] { validate({.temperature = temperature}); });
  }
  for (const float top_p : {0.0F, -0.5F, 1.01F, kNan, kInfinity}) {
    expect_error(ErrorCode::usage, "--top-p", [&] { validate({.top_p = top_p}); });
  }
  expect_error(ErrorCode::usage, "--top-k", [] { validate({.top_k = -1}); });
  expect_error(ErrorCode::usage, "--top-k",
               [] { sample(std::vector<float>{1.0F}, {.top_k = -1}, 0, 0); });
  EXPECT_NO_THROW(validate({.temperature = 0.7F, .top_k = 40, .top_p = 0.9F, .seed = 1}));
}

}  // namespace
}  // namespace cohort
