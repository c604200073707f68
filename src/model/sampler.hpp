// Chooses the next token. Pure: what is chosen depends on the arguments and nothing else, so a
// prompt gets the same tokens in every layout and in every batch.
#pragma once

#include <cstdint>
#include <span>

#include "model/token_id.hpp"

namespace cohort {

/// How to choose; the defaults take the likeliest token.
struct SamplingOptions {
  float temperature = 0.0F;  // 0: greedy, and the rest is not used
  std::int32_t top_k = 0;    // how many of the likeliest to choose from; 0: all
  float top_p = 1.0F;  // choose from the fewest likeliest that together are at least this likely
  std::uint64_t seed = 0;
};

/// Throws Error{usage} naming --temperature, --top-k or --top-p if its value makes no sense. Local.
void validate(const SamplingOptions& options);

/// A number from 0 up to but not including 1 for this place in this prompt: the top 53 bits of
/// m(m(m(seed) + prompt_index) + position), where m adds 0x9E3779B97F4A7C15 and then applies the
/// SplitMix64 finaliser (Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195). Local.
double random_unit(std::uint64_t seed, std::uint64_t prompt_index, std::uint64_t position) noexcept;

/// The next token, given a logit for each token of the vocabulary. Local.
/// Logits are divided by the temperature, the top k kept, then of their softmax the top p; equal
/// logits go by id, lower first. `position` is that of the new token in the sequence. Throws:
/// Error{usage} for options that `validate` refuses, Error{corrupt} if a logit is NaN or positive
/// infinity, or all are negative infinity. Cost: O(n log n) in the vocabulary with top k or top p,
/// else O(n).
TokenId sample(std::span<const float> logits, const SamplingOptions& options,
               std::uint64_t prompt_index, std::uint64_t position);

}  // namespace cohort
