#pragma once

#include <cstdint>
#include <span>

#include "model/gguf.hpp"

namespace cohort {

/// How the rows of a query or key projection lie within each head of `head_width` rows. Rotary
/// embedding turns pairs of rows: (i, i + head_width / 2) if half split, (2i, 2i + 1) if adjacent.
/// GGUF files of type `llama` hold adjacent pairs, Hugging Face checkpoints are half split.
/// Inside cohort weights are half split, always: `load_head_rows` brings both to that form.
enum class RopeLayout : std::uint8_t { adjacent_pairs, half_split };

/// Shape and constants of a Llama-type decoder.
struct ModelConfig {
  std::uint32_t layer_count = 0;
  std::uint32_t hidden_width = 0;
  std::uint32_t mlp_width = 0;
  std::uint32_t head_count = 0;
  std::uint32_t kv_head_count = 0;
  std::uint32_t head_width = 0;
  std::uint32_t vocabulary_count = 0;
  std::uint32_t context_token_count = 0;  // the most tokens of a sequence
  float rope_base = 0;
  float rms_epsilon = 0;
  bool tied_embeddings = false;  // no output.weight: logits come from token_embd.weight
  RopeLayout rope_layout_in_file = RopeLayout::adjacent_pairs;

  std::uint32_t query_width() const noexcept { return head_count * head_width; }
  std::uint32_t kv_width() const noexcept { return kv_head_count * head_width; }
};

/// Reads the shape of the model in `file` and checks that the file holds exactly the tensors of
/// such a model, each in its shape; a loader need not check again. Local.
/// Throws: Error{corrupt} naming the missing or contradicting key or tensor, Error{unsupported} for
/// an architecture other than `llama`, scaled rotary embedding, or tensors of another decoder.
ModelConfig model_config_from(const GgufFile& file);

/// Writes heads [head_begin, head_begin + head_count) of an attn_q or attn_k weight to `out` as
/// f32 in half-split order, (head_count * head_width, tensor.column_count()). Local.
/// Throws: Error{usage} if the heads are not all in the tensor or `out` has another size.
void load_head_rows(const GgufTensor& tensor, const ModelConfig& config, std::uint32_t head_begin,
                    std::uint32_t head_count, std::span<float> out);

}  // namespace cohort
