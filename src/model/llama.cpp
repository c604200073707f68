#include "model/llama.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>

#include "base/assert.hpp"
#include "model/attention.hpp"
#include "model/dequantize.hpp"
#include "model/element.hpp"
#include "model/kernels.hpp"
#include "model/model_shards.hpp"
#include "model/rope.hpp"

namespace cohort {

namespace {

/// Room for the largest step. Pages that no step reaches are never touched, so generous maxima cost
/// address space, not memory.
template <typename T>
class StepBuffer {
 public:
  explicit StepBuffer(std::size_t count) : values_(std::make_unique_for_overwrite<T[]>(count)) {}
  T* data() noexcept { return values_.get(); }

 private:
  std::unique_ptr<T[]> values_;
};

template <typename T>
class Decoder final : public LlamaDecoder {
 public:
  Decoder(const LlamaSource& source, const Layout& layout, WorldRank rank,
          const LlamaMaxima& maxima, LoadProgress progress)
      : source_(source),
        config_(source.config),
        maxima_(maxima),
        heads_(shard_heads(config_, layout.attn_tp(), layout.attn_tp_rank(rank))),
        mlp_width_(config_.mlp_width / layout.sizes().tp),
        matmul_(kDTypeOf<T>),
        weights_(load_llama_weights(source, layout, rank, matmul_, progress)),
        rope_(config_.head_width, config_.rope_base, maxima.context_tokens),
        cache_({.layer_count = config_.layer_count,
                .kv_head_count = heads_.kv_head_count,
                .head_width = config_.head_width,
                .sequence_count_max = maxima.sequences,
                .token_count_max = maxima.context_tokens}),
        hidden_(maxima.attention_rows * config_.hidden_width),
        normed_(maxima.attention_rows * config_.hidden_width),
        qkv_(maxima.attention_rows * qkv_width()),
        attended_(maxima.attention_rows * query_width()),
        gate_up_(maxima.batch_rows * 2 * mlp_width_),
        activated_(maxima.batch_rows * mlp_width_),
        logits_(maxima.last_rows * vocabulary_count()) {}

  const float* step(const LlamaStep& step, LayerCommunicator& communicator) override {
    COHORT_ASSERT(step.tokens.size() <= maxima_.attention_rows &&
                      step.batch_row_count <= maxima_.batch_rows &&
                      step.batch_last_row_count <= maxima_.last_rows,
                  "a step beyond the decoder's maxima");
    for (const TokenRun& run : step.cached_runs) {
      cache_.reserve(run.sequence, run.position + run.count);
    }
    embed(step.tokens);
    for (std::size_t layer = 0; layer < weights_.layers.size(); ++layer) {
      attention(layer, step, communicator);
      mlp(weights_.layers[layer], step, communicator);
    }
    return logits(step, communicator);
  }

  void release(std::size_t sequence) override { cache_.release(sequence); }
  DType dtype() const noexcept override { return kDTypeOf<T>; }
  std::size_t vocabulary_begin() const noexcept override { return weights_.vocabulary_begin; }
  std::size_t vocabulary_count() const noexcept override { return weights_.head.output_width; }

 private:
  std::size_t query_width() const noexcept { return heads_.head_count * config_.head_width; }
  std::size_t kv_row_width() const noexcept {
    return 2 * heads_.kv_head_count * config_.head_width;
  }
  std::size_t qkv_width() const noexcept { return query_width() + kv_row_width(); }

  void embed(std::span<const TokenId> tokens) {
    const std::size_t width = config_.hidden_width;
    const GgufTensor& table = source_.file.tensor("token_embd.weight");
    embedding_.resize(width);
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      dequantize_rows(table, tokens[row], 1, embedding_);
      std::ranges::transform(embedding_, hidden_.data() + row * width, from_f32<T>);
    }
  }

  void attention(std::size_t layer, const LlamaStep& step, LayerCommunicator& communicator) {
    const LlamaLayerWeights& weights = weights_.layers[layer];
    const std::size_t rows = step.tokens.size();
    rms_norm(hidden_.data(), rows, weights.attention_norm, config_.rms_epsilon, normed_.data());
    matmul_.multiply(weights.qkv, normed_.data(), rows, qkv_.data());
    // Queries and keys lie side by side and turn alike.
    const std::size_t turned_heads = heads_.head_count + heads_.kv_head_count;
    auto* new_kv = static_cast<T*>(communicator.kv_rows().data);
    for (const TokenRun& run : step.runs) {
      for (std::size_t i = 0; i < run.count; ++i) {
        const std::size_t row = run.local_row + i;
        T* qkv = qkv_.data() + row * qkv_width();
        rope_.rotate(qkv, turned_heads, run.position + i);
        std::copy_n(qkv + query_width(), kv_row_width(), new_kv + row * kv_row_width());
      }
    }
    const auto* kv = static_cast<const T*>(communicator.gather_kv_rows().data);
    for (const TokenRun& run : step.cached_runs) {
      for (std::size_t i = 0; i < run.count; ++i) {
        cache_.store(layer, run.sequence, run.position + i,
                     kv + (run.local_row + i) * kv_row_width());
      }
    }
    const QueryRows<T> queries{qkv_.data(), qkv_width(), heads_.head_count};
    attend(cache_, layer, step.runs, queries, attended_.data());
    matmul_.multiply(weights.attention_output, attended_.data(), rows,
                     communicator.attention_output().data);
    const auto* sum = static_cast<const T*>(communicator.complete_attention_output().data);
    add_to(hidden_.data(), sum, rows * config_.hidden_width);
  }

  void mlp(const LlamaLayerWeights& weights, const LlamaStep& step,
           LayerCommunicator& communicator) {
    const std::size_t rows = step.tokens.size();
    rms_norm(hidden_.data(), rows, weights.mlp_norm, config_.rms_epsilon,
             static_cast<T*>(communicator.mlp_input().data));
    const void* input = communicator.gather_mlp_input().data;
    matmul_.multiply(weights.gate_up, input, step.batch_row_count, gate_up_.data());
    silu_multiply(gate_up_.data(), step.batch_row_count, mlp_width_, activated_.data());
    matmul_.multiply(weights.down, activated_.data(), step.batch_row_count,
                     communicator.mlp_output().data);
    const auto* sum = static_cast<const T*>(communicator.complete_mlp_output().data);
    add_to(hidden_.data(), sum, rows * config_.hidden_width);
  }

  const float* logits(const LlamaStep& step, LayerCommunicator& communicator) {
    if (step.batch_last_row_count == 0) return logits_.data();
    const std::size_t width = config_.hidden_width;
    auto* last = static_cast<T*>(communicator.last_rows().data);
    for (std::size_t i = 0; i < step.last_rows.size(); ++i) {
      rms_norm(hidden_.data() + step.last_rows[i] * width, 1, weights_.output_norm,
               config_.rms_epsilon, last + i * width);
    }
    matmul_.multiply_to_f32(weights_.head, communicator.gather_last_rows().data,
                            step.batch_last_row_count, logits_.data());
    return logits_.data();
  }

  LlamaSource source_;
  const ModelConfig& config_;
  LlamaMaxima maxima_;
  HeadShard heads_;
  std::size_t mlp_width_;
  Matmul matmul_;
  LlamaWeights weights_;
  Rope rope_;
  KvCache<T> cache_;
  // Of one step, as large as the largest.
  StepBuffer<T> hidden_;          // (attention rows, hidden): the residual stream
  StepBuffer<T> normed_;          // (attention rows, hidden)
  StepBuffer<T> qkv_;             // (attention rows, [queries | keys | values])
  StepBuffer<T> attended_;        // (attention rows, own query heads)
  StepBuffer<T> gate_up_;         // (batch rows, [gate | up])
  StepBuffer<T> activated_;       // (batch rows, own part of the MLP)
  StepBuffer<float> logits_;      // (last rows, own part of the vocabulary)
  std::vector<float> embedding_;  // (hidden)
};

}  // namespace

std::unique_ptr<LlamaDecoder> load_llama(const LlamaSource& source, const Layout& layout,
                                         WorldRank rank, DType dtype, const LlamaMaxima& maxima,
                                         LoadProgress progress) {
  check_layout(source.config, layout);
  if (dtype == DType::bf16) {
    return std::make_unique<Decoder<Bf16>>(source, layout, rank, maxima, progress);
  }
  if (dtype == DType::f32) {
    return std::make_unique<Decoder<float>>(source, layout, rank, maxima, progress);
  }
  throw Error(
      ErrorCode::usage,
      "a model cannot be computed in " + std::string(to_string(dtype)) + "; use f32 or bf16",
      std::nullopt, "load");
}

}  // namespace cohort
