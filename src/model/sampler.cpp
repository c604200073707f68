#include "model/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <cohort/error.hpp>

namespace cohort {
namespace {

/// SplitMix64: a bijection that spreads every input bit over all output bits.
std::uint64_t mix(std::uint64_t bits) noexcept {
  bits += 0x9E3779B97F4A7C15;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
  return bits ^ (bits >> 31);
}

void check_logits(std::span<const float> logits, std::uint64_t prompt_index,
                  std::uint64_t position) {
  bool any_possible = false;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const bool is_wrong =
        std::isnan(logits[i]) || logits[i] == std::numeric_limits<float>::infinity();
    if (is_wrong) {
      throw Error(ErrorCode::corrupt,
                  "the logit of token " + std::to_string(i) + " is " + std::to_string(logits[i]) +
                      " (prompt " + std::to_string(prompt_index) + ", position " +
                      std::to_string(position) + "): the model's weights or the sums are damaged");
    }
    any_possible = any_possible || std::isfinite(logits[i]);
  }
  if (!any_possible) {
    throw Error(ErrorCode::corrupt, "no token is possible (prompt " + std::to_string(prompt_index) +
                                        ", position " + std::to_string(position) + ")");
  }
}

TokenId likeliest(std::span<const float> logits) {
  // The first of equals.
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// The tokens to choose from and their weights, not yet divided by their sum.
struct Candidates {
  std::vector<TokenId> tokens;
  std::vector<double> weights;
};

std::vector<double> weigh(std::span<const float> logits, std::span<const TokenId> tokens,
                          float temperature) {
  // Relative to the largest logit, so that nothing overflows and at least one weight is 1.
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> weights;
  weights.reserve(tokens.size());
  for (const TokenId token : tokens) {
    weights.push_back(std::exp((static_cast<double>(logits[token]) - largest) /
                               static_cast<double>(temperature)));
  }
  return weights;
}

double sum_of(std::span<const double> weights) {
  double sum = 0.0;
  for (const double weight : weights) sum += weight;
  return sum;
}

Candidates choose_candidates(std::span<const float> logits, const SamplingOptions& options) {
  std::vector<TokenId> tokens(logits.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i);
  const auto is_likelier = [&](TokenId a, TokenId b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };

  const auto top_k = static_cast<std::size_t>(options.top_k);
  if (top_k > 0 && top_k < tokens.size()) {
    const auto end = tokens.begin() + options.top_k;
    std::nth_element(tokens.begin(), end, tokens.end(), is_likelier);
    tokens.erase(end, tokens.end());
  }
  if (options.top_p < 1.0F) {
    std::sort(tokens.begin(), tokens.end(), is_likelier);
    const std::vector<double> weights = weigh(logits, tokens, options.temperature);
    const double enough = sum_of(weights) * static_cast<double>(options.top_p);
    std::size_t count = 0;
    for (double sum = 0.0; count < tokens.size() && sum < enough; ++count) sum += weights[count];
    tokens.resize(std::max<std::size_t>(count, 1));
  }
  // In the order of ids, so that a top k or top p that leaves nothing out also changes nothing.
  std::sort(tokens.begin(), tokens.end());
  std::vector<double> weights = weigh(logits, tokens, options.temperature);
  return {std::move(tokens), std::move(weights)};
}

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem);
}

}  // namespace

void validate(const SamplingOptions& options) {
  if (!std::isfinite(options.temperature) || options.temperature < 0.0F) {
    refuse("--temperature must be 0 (greedy) or a positive number, not " +
           std::to_string(options.temperature));
  }
  if (options.top_k < 0) {
    refuse("--top-k must be 0 (all tokens) or a positive count, not " +
           std::to_string(options.top_k));
  }
  if (!(options.top_p > 0.0F && options.top_p <= 1.0F)) {
    refuse("--top-p must be above 0 and at most 1, not " + std::to_string(options.top_p));
  }
}

double random_unit(std::uint64_t seed, std::uint64_t prompt_index,
                   std::uint64_t position) noexcept {
  const std::uint64_t bits = mix(mix(mix(seed) + prompt_index) + position);
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

TokenId sample(std::span<const float> logits, const SamplingOptions& options,
               std::uint64_t prompt_index, std::uint64_t position) {
  validate(options);
  check_logits(logits, prompt_index, position);
  if (options.temperature == 0.0F) return likeliest(logits);

  const Candidates candidates = choose_candidates(logits, options);
  const double target =
      random_unit(options.seed, prompt_index, position) * sum_of(candidates.weights);
  TokenId chosen = candidates.tokens.front();
  double sum = 0.0;
  for (std::size_t i = 0; i < candidates.tokens.size() && sum <= target; ++i) {
    // A token of no weight is never chosen, not even where rounding lets the target pass the sum.
    if (candidates.weights[i] > 0.0) chosen = candidates.tokens[i];
    sum += candidates.weights[i];
  }
  return chosen;
}

}  // namespace cohort
