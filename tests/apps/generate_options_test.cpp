#include "generate_options.hpp"

#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

GenerateFlags parse(const std::string& line) {
  CLI::App app("test");
  GenerateFlags flags;
  add_generate_flags(app, flags);
  std::vector<std::string> arguments = {"--model", "m.gguf"};
  std::istringstream stream(line);
  for (std::string word; stream >> word;) arguments.push_back(word);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  app.parse(arguments);
  return flags;
}

std::string layout_error(const std::string& line) {
  try {
    static_cast<void>(parse(line).layout());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "no error";
}

TEST(GenerateOptions, RanksAndTpFollowFromEachOther) {
  EXPECT_EQ(parse("").layout().world_size(), 1);
  EXPECT_EQ(parse("--tp 4").layout().world_size(), 4);
  EXPECT_EQ(parse("--ranks 4").layout().sizes().tp, 4);
  EXPECT_EQ(parse("-n 4 --attn-dp 2").layout().attn_tp(), 2);
  EXPECT_EQ(parse("--ranks 4 --tp 4").layout().world_size(), 4);
  EXPECT_EQ(parse("--tp-size 4 --dp-size 2 --enable-dp-attention").layout().sizes().attn_dp, 2);
}

TEST(GenerateOptions, ContradictionsNameBothFlags) {
  EXPECT_THAT(layout_error("--ranks 2 --tp 4"), HasSubstr("--ranks 2 contradicts --tp 4"));
  EXPECT_THAT(layout_error("--ranks 3 --tp 2 --pp 2"), HasSubstr("--tp 2 x --pp 2"));
  EXPECT_THAT(layout_error("--ranks 0"), HasSubstr("--ranks 0"));
  EXPECT_THAT(layout_error("--ranks 4 --attn-dp 3"), HasSubstr("--attn-dp 3"));
}

TEST(GenerateOptions, SglangsSymmetricMemory) {
  EXPECT_EQ(parse("--enable-symm-mem").engine.plan_options().symmetry, Symmetry::on);
  EXPECT_EQ(parse("--enable-symm-mem --symmetric on").engine.plan_options().symmetry, Symmetry::on);
  try {
    parse("--enable-symm-mem --symmetric off").engine.check_spellings();
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "--symmetric off contradicts --enable-symm-mem: give one of them");
  }
}

TEST(GenerateOptions, PromptsMayBeRepeated) {
  EXPECT_THAT(parse("--prompt a --prompt b").prompts, ElementsAre("a", "b"));
}

TEST(GenerateOptions, DeadlineScalesSetUpToo) {
  const WaitLimits usual = parse("").limits();
  EXPECT_EQ(usual.steady, 10s);
  EXPECT_EQ(usual.setup, 30s);
  EXPECT_EQ(usual.stall, 1s);
  const WaitLimits longer = parse("--deadline 60").limits();
  EXPECT_EQ(longer.steady, 60s);
  EXPECT_EQ(longer.setup, 180s);
  EXPECT_EQ(parse("--deadline 0.25").limits().stall, 250ms);
  for (const char* bad : {"--deadline 0", "--deadline -1", "--deadline nan", "--deadline 1e9"}) {
    EXPECT_THROW(static_cast<void>(parse(bad).limits()), Error) << bad;
  }
}

TEST(GenerateOptions, SpecFollowsFromFlagsAndModel) {
  ModelConfig config;
  config.context_token_count = 8192;
  EngineSpec spec = parse("").engine.spec(config);
  EXPECT_EQ(spec.maxima.context_tokens, 2048);
  EXPECT_EQ(spec.dtype, DType::f32);
  EXPECT_EQ(spec.choice, TokenChoice::greedy);
  config.context_token_count = 512;
  EXPECT_EQ(parse("").engine.spec(config).maxima.context_tokens, 512);
  spec = parse("--context 100 --max-sequences 3 --max-step-tokens 7 --dtype bf16 --temperature 0.5")
             .engine.spec(config);
  EXPECT_EQ(spec.maxima.context_tokens, 100);
  EXPECT_EQ(spec.maxima.replica_sequences, 3);
  EXPECT_EQ(spec.maxima.step_tokens, 7);
  EXPECT_EQ(spec.dtype, DType::bf16);
  EXPECT_EQ(spec.choice, TokenChoice::sampled);
}

TEST(GenerateOptions, PlanOptionsFollowFromFlags) {
  EXPECT_EQ(parse("").engine.plan_options().symmetry, Symmetry::on);
  EXPECT_FALSE(parse("").engine.plan_options().strict);
  const PlanOptions options = parse("--symmetric off --strict").engine.plan_options();
  EXPECT_EQ(options.symmetry, Symmetry::off);
  EXPECT_TRUE(options.strict);
}

TEST(GenerateOptions, SamplingIsChecked) {
  const SamplingOptions options =
      parse("--temperature 0.5 --top-k 3 --top-p 0.5 --seed 9").sampling();
  EXPECT_EQ(options.temperature, 0.5F);
  EXPECT_EQ(options.top_k, 3);
  EXPECT_EQ(options.top_p, 0.5F);
  EXPECT_EQ(options.seed, 9);
  EXPECT_EQ(parse("--seed 18446744073709551615").seed, ~std::uint64_t{0});
  for (const char* seed : {"-1", "18446744073709551616", "1e3", "0x10", "+1"}) {
    EXPECT_THROW(parse(std::string("--seed ") + seed), CLI::ValidationError) << seed;
  }
  EXPECT_THROW(static_cast<void>(parse("--temperature -1").sampling()), Error);
  EXPECT_THROW(static_cast<void>(parse("--temperature 1 --top-k -1").sampling()), Error);
}

}  // namespace
}  // namespace cohort
