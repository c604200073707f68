#pragma once

#include <cstddef>
#include <vector>

#include <cohort/ids.hpp>
#include <cohort/layout.hpp>

#include "base/function_ref.hpp"
#include "model/gguf.hpp"
#include "model/matmul.hpp"
#include "model/model_config.hpp"

namespace cohort {

/// One layer's weights, as far as a rank holds them.
struct LlamaLayerWeights {
  std::vector<float> attention_norm;  // (hidden)
  std::vector<float> mlp_norm;        // (hidden)
  LinearWeights qkv;                  // own query heads, then keys, then values
  LinearWeights attention_output;     // columns of own query heads
  LinearWeights gate_up;              // own rows of gate, then of up
  LinearWeights down;                 // columns of own MLP rows
};

/// What one rank holds of a model: its attention heads, its part of the MLP and of the vocabulary.
struct LlamaWeights {
  std::vector<LlamaLayerWeights> layers;
  std::vector<float> output_norm;    // (hidden)
  LinearWeights head;                // own vocabulary rows
  std::size_t vocabulary_begin = 0;  // the first of them
};

/// A model's file and what it says about its shape.
struct LlamaSource {
  const GgufFile& file;
  const ModelConfig& config;
};

/// Called after each tensor: how many are loaded, of how many. May throw to give up.
using LoadProgress = FunctionRef<void(std::size_t, std::size_t)>;

/// Loads what `rank` holds under `layout`, ready for products of `matmul`. Local.
/// Requires: `check_layout` has passed. Throws: what `progress` throws.
/// Cost: decodes each tensor's part once.
LlamaWeights load_llama_weights(const LlamaSource& source, const Layout& layout, WorldRank rank,
                                Matmul& matmul, LoadProgress progress);

}  // namespace cohort
