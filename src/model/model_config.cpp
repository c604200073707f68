#include "model/model_config.hpp"

#include <array>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>

#include "model/dequantize.hpp"
#include "model/gguf_cursor.hpp"
#include "model/printable.hpp"

namespace cohort {
namespace {

// Far above any real model; keeps every product of two sizes below 2^64 and noise out.
constexpr std::uint32_t kLayerCountMax = 4096;
constexpr std::uint32_t kWidthMax = 1u << 20;
constexpr std::uint32_t kVocabularyCountMax = 1u << 24;

std::string text_of(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t extent : shape) {
    text += (text.empty() ? "(" : ", ") + std::to_string(extent);
  }
  return text + ")";
}

// Keys that would change the arithmetic, with the one value that leaves it as it is.
struct NeutralNumber {
  std::string_view key;
  double neutral;
};
constexpr std::array kNeutralNumbers = {
    NeutralNumber{"llama.expert_count", 0},      NeutralNumber{"llama.attention.sliding_window", 0},
    NeutralNumber{"llama.rope.scale_linear", 1}, NeutralNumber{"llama.logit_scale", 1},
    NeutralNumber{"llama.embedding_scale", 1},   NeutralNumber{"llama.residual_scale", 1},
};

class Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file) {}

  ModelConfig read();

 private:
  void check_architecture() const;
  void check_plain_arithmetic() const;
  void check_rope_scaling() const;
  std::uint32_t require_size(std::string_view key, std::uint32_t size_max) const;
  void read_sizes();
  void read_heads();
  void read_constants();
  void read_vocabulary();
  void check_tensors();
  void check_tensor(const std::string& name, const std::vector<std::uint64_t>& shape);

  const GgufFile& file_;
  ModelConfig config_;
  std::set<std::string_view> known_tensors_;
};

ModelConfig Reader::read() {
  check_architecture();
  check_plain_arithmetic();
  check_rope_scaling();
  read_sizes();
  read_heads();
  read_constants();
  read_vocabulary();
  check_tensors();
  return config_;
}

void Reader::check_architecture() const {
  const std::string_view architecture = file_.require_string("general.architecture");
  if (architecture == "llama") return;
  file_.refuse(ErrorCode::unsupported,
               "general.architecture is " + quoted(architecture) + ", only 'llama' can be run");
}

void Reader::check_plain_arithmetic() const {
  for (const NeutralNumber& entry : kNeutralNumbers) {
    const GgufValue* found = file_.find(entry.key);
    if (found == nullptr) continue;
    const double number = std::holds_alternative<double>(found->value)
                              ? static_cast<double>(file_.require_f32(entry.key))
                              : static_cast<double>(file_.require_u32(entry.key));
    if (number != entry.neutral) {
      file_.refuse(ErrorCode::unsupported, std::string(entry.key) + " is " +
                                               std::to_string(number) + ", only " +
                                               std::to_string(entry.neutral) + " can be run");
    }
  }
}

void Reader::check_rope_scaling() const {
  constexpr std::string_view kPrefix = "llama.rope.scaling.";
  constexpr std::string_view kType = "llama.rope.scaling.type";
  const std::optional<std::string_view> type = file_.find_string(kType);
  for (const auto& [key, value] : file_.metadata()) {
    // With the type `none` the other keys say nothing.
    if (!key.starts_with(kPrefix) || type == "none") continue;
    const std::string detail = key == kType ? " is " + quoted(*type) : " is set";
    file_.refuse(ErrorCode::unsupported,
                 printable(key) + detail + "; scaled rotary embedding cannot be run");
  }
  if (file_.find_tensor("rope_freqs.weight") != nullptr) {
    file_.refuse(ErrorCode::unsupported,
                 "tensor 'rope_freqs.weight' scales the rotary embedding, which cannot be run");
  }
}

std::uint32_t Reader::require_size(std::string_view key, std::uint32_t size_max) const {
  const std::uint32_t size = file_.require_u32(key);
  if (size == 0 || size > size_max) {
    file_.refuse(ErrorCode::corrupt, std::string(key) + " is " + std::to_string(size) +
                                         ", not from 1 to " + std::to_string(size_max));
  }
  return size;
}

void Reader::read_sizes() {
  config_.layer_count = require_size("llama.block_count", kLayerCountMax);
  config_.hidden_width = require_size("llama.embedding_length", kWidthMax);
  config_.mlp_width = require_size("llama.feed_forward_length", kWidthMax);
  config_.context_token_count = require_size("llama.context_length", 1u << 30);
}

void Reader::read_heads() {
  config_.head_count = require_size("llama.attention.head_count", kWidthMax);
  config_.kv_head_count = require_size("llama.attention.head_count_kv", kWidthMax);
  if (config_.head_count % config_.kv_head_count != 0) {
    file_.refuse(ErrorCode::corrupt, "llama.attention.head_count is " +
                                         std::to_string(config_.head_count) +
                                         ", not a multiple of llama.attention.head_count_kv, " +
                                         std::to_string(config_.kv_head_count));
  }
  const std::optional<std::uint32_t> key_width = file_.find_u32("llama.attention.key_length");
  if (!key_width && config_.hidden_width % config_.head_count != 0) {
    file_.refuse(ErrorCode::corrupt, "llama.embedding_length is " +
                                         std::to_string(config_.hidden_width) +
                                         ", not a multiple of llama.attention.head_count, " +
                                         std::to_string(config_.head_count));
  }
  config_.head_width = key_width.value_or(config_.hidden_width / config_.head_count);
  if (config_.head_width == 0 || config_.head_width % 2 != 0 ||
      std::uint64_t{config_.head_width} * config_.head_count > kWidthMax) {
    file_.refuse(ErrorCode::corrupt, "the width of a head is " +
                                         std::to_string(config_.head_width) +
                                         ", rotary embedding needs an even number of columns");
  }
  const auto value_width = file_.find_u32("llama.attention.value_length");
  if (value_width.value_or(config_.head_width) != config_.head_width) {
    file_.refuse(ErrorCode::unsupported, "llama.attention.value_length is " +
                                             std::to_string(*value_width) +
                                             ", only the width of keys, " +
                                             std::to_string(config_.head_width) + ", can be run");
  }
}

void Reader::read_constants() {
  const std::uint32_t rope_width = file_.require_u32("llama.rope.dimension_count");
  if (rope_width != config_.head_width) {
    file_.refuse(ErrorCode::unsupported, "llama.rope.dimension_count is " +
                                             std::to_string(rope_width) +
                                             ", only the width of a head, " +
                                             std::to_string(config_.head_width) + ", can be run");
  }
  config_.rope_base = file_.require_f32("llama.rope.freq_base");
  if (!std::isfinite(config_.rope_base) || config_.rope_base < 1) {
    file_.refuse(ErrorCode::corrupt, "llama.rope.freq_base is " +
                                         std::to_string(config_.rope_base) +
                                         ", not a number of at least 1");
  }
  config_.rms_epsilon = file_.require_f32("llama.attention.layer_norm_rms_epsilon");
  if (!(config_.rms_epsilon > 0 && config_.rms_epsilon < 1)) {
    file_.refuse(ErrorCode::corrupt, "llama.attention.layer_norm_rms_epsilon is " +
                                         std::to_string(config_.rms_epsilon) +
                                         ", not between 0 and 1");
  }
}

void Reader::read_vocabulary() {
  const std::uint64_t count = file_.tensor("token_embd.weight").row_count();
  if (count > kVocabularyCountMax) {
    file_.refuse(ErrorCode::corrupt, "tensor 'token_embd.weight' has " + std::to_string(count) +
                                         " rows, more than any vocabulary");
  }
  config_.vocabulary_count = static_cast<std::uint32_t>(count);
  const std::uint32_t stated =
      file_.find_u32("llama.vocab_size").value_or(config_.vocabulary_count);
  if (stated != count) {
    file_.refuse(ErrorCode::corrupt, "llama.vocab_size is " + std::to_string(stated) +
                                         ", but tensor 'token_embd.weight' has " +
                                         std::to_string(count) + " rows");
  }
  config_.tied_embeddings = file_.find_tensor("output.weight") == nullptr;
}

void Reader::check_tensors() {
  const std::uint64_t hidden = config_.hidden_width;
  const std::uint64_t queries = config_.query_width();
  const std::uint64_t keys = config_.kv_width();
  const std::uint64_t mlp = config_.mlp_width;
  check_tensor("token_embd.weight", {config_.vocabulary_count, hidden});
  check_tensor("output_norm.weight", {hidden});
  if (!config_.tied_embeddings) check_tensor("output.weight", {config_.vocabulary_count, hidden});
  for (std::uint32_t layer = 0; layer < config_.layer_count; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    check_tensor(prefix + "attn_norm.weight", {hidden});
    check_tensor(prefix + "attn_q.weight", {queries, hidden});
    check_tensor(prefix + "attn_k.weight", {keys, hidden});
    check_tensor(prefix + "attn_v.weight", {keys, hidden});
    check_tensor(prefix + "attn_output.weight", {hidden, queries});
    check_tensor(prefix + "ffn_norm.weight", {hidden});
    check_tensor(prefix + "ffn_gate.weight", {mlp, hidden});
    check_tensor(prefix + "ffn_up.weight", {mlp, hidden});
    check_tensor(prefix + "ffn_down.weight", {hidden, mlp});
  }
  // A tensor nobody reads, a bias for instance, would mean quietly wrong output.
  for (const GgufTensor& tensor : file_.tensors()) {
    if (known_tensors_.contains(tensor.name)) continue;
    file_.refuse(ErrorCode::unsupported, "tensor " + quoted(tensor.name) +
                                             " is no part of the decoder that the metadata "
                                             "describes, so the model cannot be run faithfully");
  }
}

void Reader::check_tensor(const std::string& name, const std::vector<std::uint64_t>& shape) {
  const GgufTensor& tensor = file_.tensor(name);
  if (tensor.shape != shape) {
    file_.refuse(ErrorCode::corrupt, "tensor " + quoted(name) + " has the shape " +
                                         text_of(tensor.shape) + ", the metadata asks for " +
                                         text_of(shape));
  }
  known_tensors_.insert(tensor.name);
}

}  // namespace

ModelConfig model_config_from(const GgufFile& file) {
  return Reader(file).read();
}

void load_head_rows(const GgufTensor& tensor, const ModelConfig& config, std::uint32_t head_begin,
                    std::uint32_t head_count, std::span<float> out) {
  const std::uint64_t head_width = config.head_width;
  const std::uint64_t columns = tensor.column_count();
  const std::uint64_t row_begin = head_begin * head_width;
  const std::uint64_t row_count = head_count * head_width;
  if (config.rope_layout_in_file == RopeLayout::half_split) {
    return dequantize_rows(tensor, row_begin, row_count, out);
  }
  if (out.size() != row_count * columns) {
    throw Error(ErrorCode::usage,
                "tensor " + quoted(tensor.name) + ": the target has room for " +
                    std::to_string(out.size()) + " values, " + std::to_string(row_count * columns) +
                    " asked for",
                std::nullopt, "load");
  }
  for (std::uint64_t row = 0; row < row_count; ++row) {
    const std::uint64_t head = row / head_width;
    const std::uint64_t half = row % head_width / (head_width / 2);
    const std::uint64_t pair = row % (head_width / 2);
    const std::uint64_t row_in_file = row_begin + head * head_width + 2 * pair + half;
    dequantize_rows(tensor, row_in_file, 1, out.subspan(row * columns, columns));
  }
}

}  // namespace cohort
