#include "engine/plan_slots.hpp"

#include <algorithm>
#include <string>

#include <cohort/error.hpp>

#include "model/model_shards.hpp"

namespace cohort {

namespace {

// Far above what one host serves; keeps a typing error from reserving terabytes.
constexpr std::size_t kSequencesMax = 65'536;
constexpr std::size_t kStepTokensMax = 1'048'576;

void check_maxima(const ModelConfig& config, const EngineMaxima& maxima) {
  const auto require = [](const char* flag, std::size_t value, std::size_t value_max) {
    if (value >= 1 && value <= value_max) return;
    throw Error(ErrorCode::usage,
                std::string(flag) + " " + std::to_string(value) + " is not from 1 to " +
                    std::to_string(value_max),
                std::nullopt, "plan");
  };
  require("--max-sequences", maxima.replica_sequences, kSequencesMax);
  require("--max-step-tokens", maxima.step_tokens, kStepTokensMax);
  if (maxima.context_tokens == 0) {
    throw Error(ErrorCode::usage, "--context must be at least 1", std::nullopt, "plan");
  }
  if (maxima.context_tokens > config.context_token_count) {
    throw Error(ErrorCode::usage,
                "--context " + std::to_string(maxima.context_tokens) +
                    " is more than the model's context of " +
                    std::to_string(config.context_token_count) + " tokens",
                std::nullopt, "plan");
  }
}

void check_axes(const LayoutSizes& sizes) {
  const auto refuse = [](const char* flag, std::uint32_t size, const char* why) {
    if (size == 1) return;
    throw Error(ErrorCode::usage,
                std::string(flag) + " " + std::to_string(size) + " " + why + "; leave it at 1",
                std::nullopt, "layout");
  };
  refuse("--pp", sizes.pp, "would split the layers, which this engine does not");
  refuse("--dcp", sizes.dcp, "would split the KV cache, which this engine does not");
}

}  // namespace

LlamaMaxima llama_maxima(const Layout& layout, const EngineMaxima& maxima) noexcept {
  const std::size_t replicas = layout.sizes().attn_dp;
  const std::size_t replica_rows = std::max(maxima.step_tokens, maxima.replica_sequences);
  // Sequences of one token lie on one context-parallel rank, so a rank may get a replica's all.
  return {.attention_rows = replica_rows,
          .batch_rows = replicas * replica_rows,
          .last_rows = replicas * maxima.replica_sequences,
          .sequences = maxima.replica_sequences,
          .context_tokens = maxima.context_tokens};
}

EngineSlots plan_slots(Plan& plan, const ModelConfig& config, const EngineSpec& spec) {
  const Layout& layout = plan.layout();
  check_axes(layout.sizes());
  check_layout(config, layout);
  check_maxima(config, spec.maxima);
  EngineSlots slots;
  slots.llama = llama_maxima(layout, spec.maxima);
  const HeadShard heads = shard_heads(config, layout.attn_tp(), 0);
  slots.layers =
      plan_layers(plan, {.dtype = spec.dtype,
                         .hidden_elements = config.hidden_width,
                         .kv_elements = std::size_t{2} * heads.kv_head_count * config.head_width,
                         .attention_rows_max = slots.llama.attention_rows,
                         .replica_rows_max = slots.llama.attention_rows,
                         .batch_rows_max = slots.llama.batch_rows,
                         .last_rows_max = slots.llama.last_rows,
                         .depth = 1,
                         .pool = LayerPool{spec.pool_bytes}});
  const std::size_t tp = layout.sizes().tp;
  if (spec.choice == TokenChoice::greedy) {
    slots.candidates = plan.slot("candidates", {.groups = {GroupKind::tp},
                                                .dtype = DType::i32,
                                                .rows_max = tp * slots.llama.last_rows,
                                                .row_elements = 2});
  } else {
    slots.logits = plan.slot("logits", {.groups = {GroupKind::tp},
                                        .dtype = DType::f32,
                                        .rows_max = tp * slots.llama.last_rows,
                                        .row_elements = config.vocabulary_count / tp});
  }
  slots.replica_tokens = plan.slot("replica_tokens", {.groups = {GroupKind::attn},
                                                      .dtype = DType::i32,
                                                      .rows_max = spec.maxima.replica_sequences,
                                                      .row_elements = 1});
  if (layout.sizes().attn_dp > 1) {
    slots.batch_tokens = plan.slot("batch_tokens", {.groups = {GroupKind::tp},
                                                    .dtype = DType::i32,
                                                    .rows_max = slots.llama.last_rows,
                                                    .row_elements = 1});
  }
  return slots;
}

}  // namespace cohort
