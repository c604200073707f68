#include "model/model_shards.hpp"

#include <string>
#include <string_view>

#include <cohort/error.hpp>

namespace cohort {
namespace {

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "layout");
}

bool heads_divide(const ModelConfig& config, std::uint32_t attn_tp) {
  return config.head_count % attn_tp == 0 &&
         (config.kv_head_count % attn_tp == 0 || attn_tp % config.kv_head_count == 0);
}

// "1, 3, 9": what would do in place of a size that does not.
template <typename Accepts>
std::string accepted_sizes(std::uint32_t size_max, Accepts accepts) {
  constexpr std::uint32_t kListedMax = 64;
  std::string sizes;
  for (std::uint32_t size = 1; size <= size_max && size <= kListedMax; ++size) {
    if (accepts(size)) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  }
  return sizes;
}

std::string flags_of(const LayoutSizes& sizes) {
  return "attn_tp = --tp " + std::to_string(sizes.tp) + " / --attn-dp " +
         std::to_string(sizes.attn_dp) + " / --attn-cp " + std::to_string(sizes.attn_cp);
}

void check_heads(const ModelConfig& config, const Layout& layout) {
  const std::uint32_t attn_tp = layout.attn_tp();
  if (heads_divide(config, attn_tp)) return;
  const bool queries = config.head_count % attn_tp != 0;
  const std::string problem =
      queries ? "llama.attention.head_count, " + std::to_string(config.head_count) +
                    ", does not divide by " + std::to_string(attn_tp)
              : "llama.attention.head_count_kv, " + std::to_string(config.kv_head_count) +
                    ", neither divides by nor divides " + std::to_string(attn_tp);
  refuse(problem + " (" + flags_of(layout.sizes()) + "); attn_tp may be " +
         accepted_sizes(config.head_count,
                        [&](std::uint32_t size) { return heads_divide(config, size); }));
}

void check_divides(std::string_view field, std::uint32_t extent, std::uint32_t tp) {
  if (extent % tp == 0) return;
  refuse(std::string(field) + ", " + std::to_string(extent) + ", does not divide by --tp " +
         std::to_string(tp) + "; --tp may be " +
         accepted_sizes(extent, [&](std::uint32_t size) { return extent % size == 0; }));
}

}  // namespace

void check_layout(const ModelConfig& config, const Layout& layout) {
  const LayoutSizes& sizes = layout.sizes();
  if (sizes.ep != 1 || sizes.moe_dp != 1) {
    refuse(std::string(sizes.ep != 1 ? "--ep" : "--moe-dp") +
           " must be 1: the model has no experts");
  }
  check_heads(config, layout);
  check_divides("llama.feed_forward_length", config.mlp_width, sizes.tp);
  check_divides("the vocabulary (rows of token_embd.weight)", config.vocabulary_count, sizes.tp);
}

HeadShard shard_heads(const ModelConfig& config, std::uint32_t attn_tp,
                      std::uint32_t attn_tp_rank) {
  if (attn_tp == 0 || attn_tp_rank >= attn_tp || !heads_divide(config, attn_tp)) {
    refuse("llama.attention.head_count, " + std::to_string(config.head_count) +
           ", and head_count_kv, " + std::to_string(config.kv_head_count) +
           ", have no shard for rank " + std::to_string(attn_tp_rank) +
           " of attn_tp = " + std::to_string(attn_tp));
  }
  HeadShard shard;
  shard.head_count = config.head_count / attn_tp;
  shard.head_begin = attn_tp_rank * shard.head_count;
  if (attn_tp <= config.kv_head_count) {
    shard.kv_head_count = config.kv_head_count / attn_tp;
    shard.kv_head_begin = attn_tp_rank * shard.kv_head_count;
  } else {
    shard.kv_head_count = 1;
    shard.kv_head_begin = attn_tp_rank / (attn_tp / config.kv_head_count);
  }
  return shard;
}

}  // namespace cohort
