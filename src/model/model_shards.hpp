#pragma once

#include <cstdint>

#include <cohort/layout.hpp>

#include "model/model_config.hpp"

namespace cohort {

/// The attention heads of one rank of an attn_tp group.
struct HeadShard {
  std::uint32_t head_begin = 0;
  std::uint32_t head_count = 0;
  std::uint32_t kv_head_begin = 0;
  std::uint32_t kv_head_count = 0;

  friend bool operator==(const HeadShard&, const HeadShard&) = default;
};

/// Checks that `layout` can hold the model: heads over attn_tp, MLP width and vocabulary over tp,
/// no expert parallelism. KV heads are shared out, or each one held by several ranks where attn_tp
/// is a multiple of their number. Local.
/// Throws: Error{usage} naming the model's field and the flags, with sizes that would do.
void check_layout(const ModelConfig& config, const Layout& layout);

/// The heads that rank `attn_tp_rank` of `attn_tp` ranks holds; its query heads are those that read
/// its KV heads. Local. Throws: Error{usage} if the heads do not divide or there is no such rank.
HeadShard shard_heads(const ModelConfig& config, std::uint32_t attn_tp, std::uint32_t attn_tp_rank);

}  // namespace cohort
