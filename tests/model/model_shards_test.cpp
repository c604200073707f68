#include "model/model_shards.hpp"

#include <set>

#include <gtest/gtest.h>

#include "model/expect_error.hpp"

namespace cohort {
namespace {

using test::expect_error;

// The heads, MLP and vocabulary of SmolLM2-135M, whose 9 heads divide by little.
ModelConfig odd_model() {
  ModelConfig config;
  config.head_count = 9;
  config.kv_head_count = 3;
  config.head_width = 64;
  config.mlp_width = 1536;
  config.vocabulary_count = 49152;
  return config;
}

ModelConfig even_model() {
  ModelConfig config;
  config.head_count = 8;
  config.kv_head_count = 4;
  config.head_width = 8;
  config.mlp_width = 128;
  config.vocabulary_count = 384;
  return config;
}

TEST(ModelShards, AcceptsTheLayoutsThatFit) {
  const LayoutSizes sizes[] = {
      {},
      {.tp = 3},
      {.tp = 2, .attn_dp = 2},
      {.tp = 2, .attn_cp = 2},
      {.tp = 4, .attn_dp = 4},
      {.tp = 4, .attn_dp = 2, .attn_cp = 2},
      {.tp = 4, .attn_cp = 4},
      {.tp = 6, .attn_dp = 2},
      {.tp = 6, .attn_cp = 2},
      {.tp = 8, .attn_dp = 4, .attn_cp = 2},
  };
  for (const LayoutSizes& entry : sizes) check_layout(odd_model(), Layout(entry));
  for (const std::uint32_t tp : {1u, 2u, 4u, 8u}) {
    check_layout(even_model(), Layout({.tp = tp}));
  }
}

TEST(ModelShards, NamesTheFieldAndTheFlags) {
  expect_error(
      ErrorCode::usage,
      "llama.attention.head_count, 9, does not divide by 2 (attn_tp = --tp 4 / --attn-dp 2 "
      "/ --attn-cp 1); attn_tp may be 1, 3, 9",
      [] { check_layout(odd_model(), Layout({.tp = 4, .attn_dp = 2})); });
  ModelConfig config = even_model();
  config.head_count = 12;
  config.kv_head_count = 4;
  expect_error(ErrorCode::usage,
               "llama.attention.head_count_kv, 4, neither divides by nor divides 3",
               [&] { check_layout(config, Layout({.tp = 3})); });
  config = even_model();
  config.mlp_width = 130;
  expect_error(ErrorCode::usage,
               "llama.feed_forward_length, 130, does not divide by --tp 4; --tp may be 1, 2, 5",
               [&] { check_layout(config, Layout({.tp = 4})); });
  config = even_model();
  config.vocabulary_count = 385;
  expect_error(ErrorCode::usage, "rows of token_embd.weight), 385, does not divide by --tp 2",
               [&] { check_layout(config, Layout({.tp = 2})); });
  expect_error(ErrorCode::usage, "--ep must be 1",
               [] { check_layout(even_model(), Layout({.tp = 2, .ep = 2})); });
  expect_error(ErrorCode::usage, "--moe-dp must be 1",
               [] { check_layout(even_model(), Layout({.tp = 2, .moe_dp = 2})); });
}

TEST(ModelShards, EveryQueryHeadIsHeldOnceWithItsKeyHead) {
  for (const ModelConfig& config : {odd_model(), even_model()}) {
    const std::uint32_t queries_per_kv = config.head_count / config.kv_head_count;
    for (const std::uint32_t attn_tp : {1u, 2u, 3u, 4u, 8u, 9u}) {
      if (config.head_count % attn_tp != 0) continue;
      std::multiset<std::uint32_t> heads;
      std::multiset<std::uint32_t> kv_heads;
      for (std::uint32_t rank = 0; rank < attn_tp; ++rank) {
        const HeadShard shard = shard_heads(config, attn_tp, rank);
        for (std::uint32_t i = 0; i < shard.kv_head_count; ++i) {
          kv_heads.insert(shard.kv_head_begin + i);
        }
        for (std::uint32_t i = 0; i < shard.head_count; ++i) {
          const std::uint32_t head = shard.head_begin + i;
          heads.insert(head);
          EXPECT_GE(head / queries_per_kv, shard.kv_head_begin);
          EXPECT_LT(head / queries_per_kv, shard.kv_head_begin + shard.kv_head_count);
        }
      }
      EXPECT_EQ(heads.size(), config.head_count);
      EXPECT_EQ(std::set(heads.begin(), heads.end()).size(), config.head_count);
      EXPECT_EQ(std::set(kv_heads.begin(), kv_heads.end()).size(), config.kv_head_count);
      EXPECT_EQ(kv_heads.size(), std::max(config.kv_head_count, attn_tp));
    }
  }
}

TEST(ModelShards, ReplicatesKeyHeadsWhereRanksOutnumberThem) {
  const HeadShard expected{
      .head_begin = 5, .head_count = 1, .kv_head_begin = 2, .kv_head_count = 1};
  EXPECT_EQ(shard_heads(even_model(), 8, 5), expected);
}

TEST(ModelShards, RefusesShardsThatDoNotExist) {
  expect_error(ErrorCode::usage, "rank 3 of attn_tp = 3", [] { shard_heads(odd_model(), 3, 3); });
  expect_error(ErrorCode::usage, "rank 0 of attn_tp = 2", [] { shard_heads(odd_model(), 2, 0); });
  expect_error(ErrorCode::usage, "attn_tp = 0", [] { shard_heads(odd_model(), 0, 0); });
}

}  // namespace
}  // namespace cohort
