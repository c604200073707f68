#include "model/llama_weights.hpp"

#include <span>
#include <string>
#include <utility>

#include "model/dequantize.hpp"
#include "model/model_shards.hpp"

namespace cohort {

namespace {

constexpr std::size_t kTensorsPerLayer = 9;
constexpr std::size_t kTensorsBesidesLayers = 2;

class Loader {
 public:
  Loader(const LlamaSource& source, const Layout& layout, WorldRank rank, Matmul& matmul,
         LoadProgress progress)
      : file_(source.file),
        config_(source.config),
        matmul_(matmul),
        progress_(progress),
        heads_(shard_heads(config_, layout.attn_tp(), layout.attn_tp_rank(rank))),
        tp_(layout.sizes().tp),
        tp_rank_(rank.index() % tp_),
        tensor_count_(config_.layer_count * kTensorsPerLayer + kTensorsBesidesLayers) {}

  LlamaWeights load() {
    LlamaWeights weights;
    for (std::uint32_t layer = 0; layer < config_.layer_count; ++layer) {
      weights.layers.push_back(load_layer("blk." + std::to_string(layer) + "."));
    }
    weights.output_norm = load_vector("output_norm.weight");
    const std::size_t rows = config_.vocabulary_count / tp_;
    weights.vocabulary_begin = tp_rank_ * rows;
    const char* name = config_.tied_embeddings ? "token_embd.weight" : "output.weight";
    append_rows(name, weights.vocabulary_begin, rows);
    weights.head = pack(rows, config_.hidden_width);
    return weights;
  }

 private:
  LlamaLayerWeights load_layer(const std::string& prefix) {
    const std::size_t head_width = config_.head_width;
    const std::size_t hidden = config_.hidden_width;
    const std::size_t own_width = heads_.head_count * head_width;
    const std::size_t own_kv_width = heads_.kv_head_count * head_width;
    const std::size_t mlp_rows = config_.mlp_width / tp_;
    LlamaLayerWeights layer;
    layer.attention_norm = load_vector(prefix + "attn_norm.weight");
    append_heads(prefix + "attn_q.weight", heads_.head_begin, heads_.head_count);
    append_heads(prefix + "attn_k.weight", heads_.kv_head_begin, heads_.kv_head_count);
    append_rows(prefix + "attn_v.weight", heads_.kv_head_begin * head_width, own_kv_width);
    layer.qkv = pack(own_width + 2 * own_kv_width, hidden);
    append_columns(prefix + "attn_output.weight", heads_.head_begin * head_width, own_width);
    layer.attention_output = pack(hidden, own_width);
    layer.mlp_norm = load_vector(prefix + "ffn_norm.weight");
    append_rows(prefix + "ffn_gate.weight", tp_rank_ * mlp_rows, mlp_rows);
    append_rows(prefix + "ffn_up.weight", tp_rank_ * mlp_rows, mlp_rows);
    layer.gate_up = pack(2 * mlp_rows, hidden);
    append_columns(prefix + "ffn_down.weight", tp_rank_ * mlp_rows, mlp_rows);
    layer.down = pack(hidden, mlp_rows);
    return layer;
  }

  /// Grows the scratch by `count` elements and returns those.
  std::span<float> grow(std::size_t count) {
    scratch_.resize(scratch_.size() + count);
    return std::span(scratch_).last(count);
  }

  void append_heads(const std::string& name, std::uint32_t begin, std::uint32_t count) {
    const std::size_t elements = std::size_t{count} * config_.head_width * config_.hidden_width;
    load_head_rows(file_.tensor(name), config_, begin, count, grow(elements));
    loaded_one();
  }

  void append_rows(const std::string& name, std::size_t begin, std::size_t count) {
    dequantize_rows(file_.tensor(name), begin, count, grow(count * config_.hidden_width));
    loaded_one();
  }

  void append_columns(const std::string& name, std::size_t begin, std::size_t count) {
    const TensorPart part{.row_begin = 0,
                          .row_count = config_.hidden_width,
                          .column_begin = begin,
                          .column_count = count};
    dequantize_part(file_.tensor(name), part, grow(config_.hidden_width * count));
    loaded_one();
  }

  std::vector<float> load_vector(const std::string& name) {
    std::vector<float> values(config_.hidden_width);
    dequantize_rows(file_.tensor(name), 0, 1, values);
    loaded_one();
    return values;
  }

  /// The scratch as weights; leaves it empty.
  LinearWeights pack(std::size_t output_width, std::size_t input_width) {
    LinearWeights weights = matmul_.pack(scratch_, output_width, input_width);
    scratch_.clear();
    return weights;
  }

  void loaded_one() { progress_(++loaded_count_, tensor_count_); }

  const GgufFile& file_;
  const ModelConfig& config_;
  Matmul& matmul_;
  LoadProgress progress_;
  HeadShard heads_;
  std::uint32_t tp_;
  std::uint32_t tp_rank_;
  std::vector<float> scratch_;
  std::size_t loaded_count_ = 0;
  std::size_t tensor_count_;
};

}  // namespace

LlamaWeights load_llama_weights(const LlamaSource& source, const Layout& layout, WorldRank rank,
                                Matmul& matmul, LoadProgress progress) {
  return Loader(source, layout, rank, matmul, progress).load();
}

}  // namespace cohort
