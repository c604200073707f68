#include "model/model_config.hpp"

#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/dequantize.hpp"
#include "model/expect_error.hpp"
#include "model/gguf_builder.hpp"

namespace cohort {
namespace {

using test::expect_error;
using test::GgufBuilder;
using test::MemoryFile;
using test::one_layer_model;

ModelConfig config_of(const GgufBuilder& builder) {
  const MemoryFile content(builder.build());
  return model_config_from(GgufFile::open(content.path()));
}

void expect_refused(ErrorCode code, const std::string& text, const GgufBuilder& builder) {
  expect_error(code, text, [&] { config_of(builder); });
}

GgufFile open_test_data(const std::string& name) {
  return GgufFile::open(std::string(COHORT_TEST_DATA) + "/data/" + name);
}

TEST(ModelConfig, ReadsTheShapeOfAModel) {
  const ModelConfig config = model_config_from(open_test_data("tiny/tiny.gguf"));
  EXPECT_EQ(config.layer_count, 2u);
  EXPECT_EQ(config.hidden_width, 64u);
  EXPECT_EQ(config.mlp_width, 128u);
  EXPECT_EQ(config.head_count, 8u);
  EXPECT_EQ(config.kv_head_count, 4u);
  EXPECT_EQ(config.head_width, 8u);
  EXPECT_EQ(config.query_width(), 64u);
  EXPECT_EQ(config.kv_width(), 32u);
  EXPECT_EQ(config.vocabulary_count, 384u);
  EXPECT_EQ(config.context_token_count, 1024u);
  EXPECT_EQ(config.rope_base, 10000.0f);
  EXPECT_EQ(config.rms_epsilon, 1e-5f);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_EQ(config.rope_layout_in_file, RopeLayout::adjacent_pairs);
}

TEST(ModelConfig, AnOutputWeightMeansUntiedEmbeddings) {
  EXPECT_TRUE(config_of(one_layer_model()).tied_embeddings);
  EXPECT_FALSE(config_of(one_layer_model().set_tensor("output.weight", {6, 8})).tied_embeddings);
}

TEST(ModelConfig, NamesEachMissingKey) {
  for (const char* key :
       {"general.architecture", "llama.block_count", "llama.context_length",
        "llama.embedding_length", "llama.feed_forward_length", "llama.attention.head_count",
        "llama.attention.head_count_kv", "llama.rope.freq_base", "llama.rope.dimension_count",
        "llama.attention.layer_norm_rms_epsilon"}) {
    expect_refused(ErrorCode::corrupt, "metadata key " + std::string(key) + " is missing",
                   one_layer_model().erase(key));
  }
}

TEST(ModelConfig, NamesEachMissingTensor) {
  for (const char* name :
       {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight",
        "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight",
        "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
        "blk.0.ffn_down.weight"}) {
    expect_refused(ErrorCode::corrupt, "tensor '" + std::string(name) + "' is missing",
                   one_layer_model().erase_tensor(name));
  }
}

TEST(ModelConfig, RefusesOtherArchitectures) {
  expect_refused(ErrorCode::unsupported, "general.architecture is 'qwen2', only 'llama'",
                 one_layer_model().set_string("general.architecture", "qwen2"));
}

TEST(ModelConfig, RefusesScaledRotaryEmbedding) {
  const std::string prefix = "llama.rope.scaling.";
  expect_refused(ErrorCode::unsupported, prefix + "type is 'yarn'",
                 one_layer_model().set_string(prefix + "type", "yarn"));
  expect_refused(ErrorCode::unsupported, prefix + "factor is set",
                 one_layer_model().set_f32(prefix + "factor", 2));
  expect_refused(ErrorCode::unsupported, "llama.rope.scale_linear is 4.0",
                 one_layer_model().set_f32("llama.rope.scale_linear", 4));
  expect_refused(ErrorCode::unsupported, "'rope_freqs.weight' scales",
                 one_layer_model().set_tensor("rope_freqs.weight", {2}));
  // Not scaled, but said at length.
  EXPECT_EQ(config_of(one_layer_model()
                          .set_string(prefix + "type", "none")
                          .set_f32(prefix + "factor", 1)
                          .set_f32("llama.rope.scale_linear", 1))
                .head_width,
            4u);
}

TEST(ModelConfig, RefusesWhatWouldChangeTheArithmetic) {
  expect_refused(ErrorCode::unsupported, "llama.expert_count is 8",
                 one_layer_model().set_u32("llama.expert_count", 8));
  expect_refused(ErrorCode::unsupported, "llama.attention.sliding_window is 4096",
                 one_layer_model().set_u32("llama.attention.sliding_window", 4096));
  expect_refused(ErrorCode::unsupported, "llama.attention.value_length is 2",
                 one_layer_model().set_u32("llama.attention.value_length", 2));
  expect_refused(ErrorCode::unsupported,
                 "llama.rope.dimension_count is 2, only the width of a head",
                 one_layer_model().set_u32("llama.rope.dimension_count", 2));
  expect_refused(ErrorCode::unsupported, "tensor 'blk.0.attn_q.bias' is no part of the decoder",
                 one_layer_model().set_tensor("blk.0.attn_q.bias", {8}));
  expect_refused(ErrorCode::unsupported, "tensor 'blk.1.attn_q.weight' is no part",
                 one_layer_model().set_tensor("blk.1.attn_q.weight", {8, 8}));
}

TEST(ModelConfig, RefusesSizesThatContradict) {
  expect_refused(ErrorCode::corrupt, "llama.block_count is 0, not from 1 to",
                 one_layer_model().set_u32("llama.block_count", 0));
  expect_refused(ErrorCode::corrupt, "tensor 'blk.1.attn_norm.weight' is missing",
                 one_layer_model().set_u32("llama.block_count", 2));
  expect_refused(ErrorCode::corrupt,
                 "head_count is 2, not a multiple of llama.attention.head_count_kv",
                 one_layer_model().set_u32("llama.attention.head_count_kv", 3));
  expect_refused(ErrorCode::corrupt, "llama.embedding_length is 8, not a multiple of",
                 one_layer_model().set_u32("llama.attention.head_count", 3));
  expect_refused(ErrorCode::corrupt, "the width of a head is 1, rotary",
                 one_layer_model().set_u32("llama.attention.head_count", 8));
  expect_refused(ErrorCode::corrupt, "llama.vocab_size is 7, but tensor 'token_embd.weight' has 6",
                 one_layer_model().set_u32("llama.vocab_size", 7));
  expect_refused(
      ErrorCode::corrupt,
      "tensor 'blk.0.ffn_gate.weight' has the shape (12, 8), the metadata asks for (16, 8)",
      one_layer_model().set_u32("llama.feed_forward_length", 16));
  expect_refused(ErrorCode::corrupt, "tensor 'blk.0.attn_k.weight' has the shape (4, 8)",
                 one_layer_model().set_u32("llama.attention.head_count_kv", 2));
}

TEST(ModelConfig, RefusesConstantsThatMakeNoSense) {
  for (const float epsilon : {0.0f, -1.0f, 1.0f, std::nanf("")}) {
    expect_refused(ErrorCode::corrupt, "layer_norm_rms_epsilon is",
                   one_layer_model().set_f32("llama.attention.layer_norm_rms_epsilon", epsilon));
  }
  for (const float base : {0.0f, -1.0f, HUGE_VALF, std::nanf("")}) {
    expect_refused(ErrorCode::corrupt, "llama.rope.freq_base is",
                   one_layer_model().set_f32("llama.rope.freq_base", base));
  }
}

TEST(ModelConfig, HeadsMayBeWiderThanTheirShareOfTheModel) {
  const ModelConfig config = config_of(one_layer_model()
                                           .set_u32("llama.attention.key_length", 6)
                                           .set_u32("llama.attention.value_length", 6)
                                           .set_u32("llama.rope.dimension_count", 6)
                                           .set_tensor("blk.0.attn_q.weight", {12, 8})
                                           .set_tensor("blk.0.attn_k.weight", {6, 8})
                                           .set_tensor("blk.0.attn_v.weight", {6, 8})
                                           .set_tensor("blk.0.attn_output.weight", {8, 12}));
  EXPECT_EQ(config.head_width, 6u);
  EXPECT_EQ(config.query_width(), 12u);
}

TEST(ModelConfig, HeadRowsComeHalfSplitFromAdjacentPairs) {
  const MemoryFile content(one_layer_model().build());
  const GgufFile file = GgufFile::open(content.path());
  const GgufTensor& tensor = file.tensor("blk.0.attn_q.weight");  // 2 heads of 4 rows, 8 columns
  std::vector<float> stored(64);
  dequantize_rows(tensor, 0, 8, stored);
  std::vector<float> loaded(64);
  load_head_rows(tensor, model_config_from(file), 0, 2, loaded);
  const std::size_t row_in_file[] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (std::size_t row = 0; row < 8; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      EXPECT_EQ(loaded[row * 8 + column], stored[row_in_file[row] * 8 + column]) << row;
    }
  }
}

// The two files were written apart: one permuted as GGUF files are, one as Hugging Face is.
TEST(ModelConfig, BothLayoutsOfOneCheckpointLoadAlike) {
  const GgufFile pairs = open_test_data("tiny/tiny.gguf");
  const GgufFile split = open_test_data("tiny/tiny_half_split.gguf");
  const ModelConfig pairs_config = model_config_from(pairs);
  ModelConfig split_config = model_config_from(split);
  split_config.rope_layout_in_file = RopeLayout::half_split;
  ASSERT_EQ(pairs.tensors().size(), split.tensors().size());
  std::size_t permuted_count = 0;
  for (const GgufTensor& tensor : pairs.tensors()) {
    const GgufTensor& twin = split.tensor(tensor.name);
    const bool same =
        std::equal(tensor.data.begin(), tensor.data.end(), twin.data.begin(), twin.data.end());
    const bool query = tensor.name.find("attn_q") != std::string_view::npos;
    const bool key = tensor.name.find("attn_k") != std::string_view::npos;
    EXPECT_EQ(same, !query && !key) << tensor.name;
    if (!query && !key) continue;
    ++permuted_count;
    const std::uint32_t heads = query ? 8 : 4;
    for (std::uint32_t begin = 0; begin < heads; ++begin) {
      const std::uint32_t count = heads - begin;
      std::vector<float> from_pairs(count * 8 * tensor.column_count());
      std::vector<float> from_split(from_pairs.size());
      load_head_rows(tensor, pairs_config, begin, count, from_pairs);
      load_head_rows(twin, split_config, begin, count, from_split);
      EXPECT_EQ(from_pairs, from_split) << tensor.name << " from head " << begin;
    }
  }
  EXPECT_EQ(permuted_count, 4u);
}

TEST(ModelConfig, RefusesHeadsOutsideTheTensor) {
  const GgufFile file = open_test_data("tiny/tiny.gguf");
  const ModelConfig config = model_config_from(file);
  const GgufTensor& tensor = file.tensor("blk.0.attn_k.weight");
  std::vector<float> out(2 * 8 * 64);
  expect_error(ErrorCode::usage, "rows from", [&] { load_head_rows(tensor, config, 3, 2, out); });
  expect_error(ErrorCode::usage, "the target has room for",
               [&] { load_head_rows(tensor, config, 0, 1, out); });
}

}  // namespace
}  // namespace cohort
