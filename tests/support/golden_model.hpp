// What `transformers` computes with the weights of our model files, stored as JSON under
// tests/data/golden.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cohort::test {

/// Logits of every position of a few prompts.
struct GoldenLogits {
  struct Prompt {
    std::string name;
    std::vector<std::uint32_t> ids;
    std::vector<std::vector<std::uint32_t>> top_ids;  // (positions, 8), the likeliest first
    std::vector<std::vector<float>> top_logits;       // (positions, 8)
    std::vector<std::vector<float>> fixed_logits;     // (positions, fixed_ids)
  };
  std::vector<std::uint32_t> fixed_ids;
  std::vector<Prompt> prompts;
};

/// Greedy continuations of a few prompts.
struct GoldenTexts {
  struct Prompt {
    std::string name;
    std::string text;
    std::vector<std::uint32_t> ids;
    std::vector<std::uint32_t> continuation;
  };
  std::vector<Prompt> prompts;
};

/// Read tests/data/golden/`name`. Throw where the file is not as described.
GoldenLogits read_golden_logits(const std::string& name);
GoldenTexts read_golden_texts(const std::string& name);

/// The tiny model of tests/data, with rotary pairs adjacent or half a head apart.
std::string tiny_model_path();
std::string tiny_half_split_model_path();

/// The real model's file, from the environment variable COHORT_MODEL; empty if not set.
std::string real_model_path();

}  // namespace cohort::test
