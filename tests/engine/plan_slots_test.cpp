#include "engine/plan_slots.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

/// The shape of SmolLM2-135M.
ModelConfig config_of_model() {
  ModelConfig config;
  config.layer_count = 30;
  config.hidden_width = 576;
  config.mlp_width = 1536;
  config.head_count = 9;
  config.kv_head_count = 3;
  config.head_width = 64;
  config.vocabulary_count = 49152;
  config.context_token_count = 8192;
  return config;
}

EngineSpec spec_of(TokenChoice choice = TokenChoice::greedy) {
  return {.dtype = DType::f32, .maxima = {2048, 8, 512}, .choice = choice};
}

std::vector<std::string> names_of(const Plan& plan) {
  std::vector<std::string> names;
  for (const PlannedSlot& slot : plan.slots()) names.push_back(slot.name);
  return names;
}

const PlannedSlot& slot_named(const Plan& plan, const std::string& name) {
  return *std::ranges::find(plan.slots(), name, &PlannedSlot::name);
}

/// The largest block that a group's rows take.
std::size_t block_bytes(const Plan& plan, GroupKind group) {
  return plan.pools().front().block_bytes_max(group);
}

TEST(PlanSlots, OneRankNeedsOnlyItsTokens) {
  Plan plan(Layout({}));
  plan_slots(plan, config_of_model(), spec_of());
  EXPECT_THAT(names_of(plan), UnorderedElementsAre("candidates", "replica_tokens"));
  EXPECT_TRUE(plan.pools().empty());
}

TEST(PlanSlots, HybridLayoutPlansEveryBoundary) {
  Plan plan(Layout({.tp = 4, .attn_dp = 2, .attn_cp = 2}));
  const EngineSlots slots = plan_slots(plan, config_of_model(), spec_of());
  EXPECT_THAT(names_of(plan), UnorderedElementsAre("mlp_output_sum", "candidates", "replica_tokens",
                                                   "batch_tokens"));
  EXPECT_EQ(block_bytes(plan, GroupKind::attn_cp), 512 * 2 * 3 * 64 * 4) << "keys and values";
  EXPECT_EQ(block_bytes(plan, GroupKind::tp), 2 * 512 * 576 * 4) << "rows of the MLP";
  EXPECT_EQ(slot_named(plan, "candidates").spec.rows_max, 4 * 2 * 8);
  EXPECT_TRUE(slots.batch_tokens);
  EXPECT_FALSE(slots.logits);
}

TEST(PlanSlots, ReplicatedKvHeadsMakeNarrowRows) {
  ModelConfig config = config_of_model();
  config.head_count = 12;
  config.kv_head_count = 3;
  Plan plan(Layout({.tp = 12, .attn_cp = 2}));
  plan_slots(plan, config, spec_of());
  EXPECT_EQ(block_bytes(plan, GroupKind::attn_cp), 512 * 2 * 1 * 64 * 4);
}

TEST(PlanSlots, ThePoolIsWhatTheLargestBlockNeeds) {
  for (const LayoutSizes& sizes : std::vector<LayoutSizes>{
           {.tp = 3}, {.tp = 2, .attn_dp = 2}, {.tp = 4, .attn_dp = 2, .attn_cp = 2}}) {
    Plan plan{Layout(sizes)};
    plan_slots(plan, config_of_model(), spec_of());
    ASSERT_EQ(plan.pools().size(), 1U);
    const PlannedPool& pool = plan.pools().front();
    EXPECT_EQ(pool.name, "activations");
    std::size_t largest = 0;
    for (const PoolGroup& group : pool.spec.groups) {
      largest = std::max(largest, group.block_bytes_max);
    }
    EXPECT_EQ(pool.bytes, largest);
    EngineSpec spec = spec_of();
    spec.pool_bytes = 8192;
    Plan other{Layout(sizes)};
    plan_slots(other, config_of_model(), spec);
    EXPECT_EQ(other.pools().front().bytes, 8192U);
    EXPECT_EQ(other.pools().front().spec.groups, pool.spec.groups);
  }
}

TEST(PlanSlots, SamplingGathersLogits) {
  Plan plan(Layout({.tp = 3}));
  const EngineSlots slots = plan_slots(plan, config_of_model(), spec_of(TokenChoice::sampled));
  EXPECT_FALSE(slots.candidates);
  ASSERT_TRUE(slots.logits);
  EXPECT_EQ(plan.slot(*slots.logits).spec.row_elements, 49152 / 3);
  EXPECT_EQ(plan.slot(*slots.logits).spec.rows_max, 3 * 8);
}

TEST(PlanSlots, MoreSequencesThanStepTokensStillFit) {
  EngineSpec spec = spec_of();
  spec.maxima.replica_sequences = 600;
  Plan plan(Layout({.tp = 2, .attn_dp = 2}));
  const EngineSlots slots = plan_slots(plan, config_of_model(), spec);
  EXPECT_EQ(slots.llama.attention_rows, 600);
  EXPECT_EQ(slots.llama.batch_rows, 1200);
  EXPECT_EQ(slots.llama.last_rows, 1200);
}

std::string message_of(const LayoutSizes& sizes, const EngineMaxima& maxima) {
  EngineSpec spec = spec_of();
  spec.maxima = maxima;
  Plan plan{Layout(sizes)};
  try {
    plan_slots(plan, config_of_model(), spec);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "no error";
}

TEST(PlanSlots, RefusalsNameTheFlag) {
  EXPECT_THAT(message_of({.tp = 2}, {2048, 8, 512}), HasSubstr("head_count"));
  EXPECT_THAT(message_of({.tp = 3, .pp = 2}, {2048, 8, 512}), HasSubstr("--pp 2"));
  EXPECT_THAT(message_of({.tp = 3, .dcp = 3}, {2048, 8, 512}), HasSubstr("--dcp 3"));
  EXPECT_THAT(message_of({}, {0, 8, 512}), HasSubstr("--context"));
  EXPECT_THAT(message_of({}, {8193, 8, 512}), HasSubstr("--context 8193"));
  EXPECT_THAT(message_of({}, {2048, 0, 512}), HasSubstr("--max-sequences"));
  EXPECT_THAT(message_of({}, {2048, 8, 0}), HasSubstr("--max-step-tokens 0 is not from 1"));
  EXPECT_THAT(message_of({}, {2048, 8, 1U << 31U}), HasSubstr("--max-step-tokens 2147483648"));
  EXPECT_THAT(message_of({}, {2048, 1U << 31U, 8}), HasSubstr("--max-sequences 2147483648"));
}

}  // namespace
}  // namespace cohort
