// SmolLM2-135M-Instruct over ranks as processes: the same greedy tokens as `transformers`, whatever
// the layout.

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/generate_job.hpp"

namespace cohort {
namespace {

using test::GenerateJob;
using testing::HasSubstr;
using testing::StartsWith;

class RealModel : public GenerateJob {
 protected:
  void SetUp() override {
    GenerateJob::SetUp();
    if (test::real_model_path().empty()) GTEST_SKIP() << "COHORT_MODEL names no model file";
  }

  static std::vector<test::GoldenTexts::Prompt> golden() {
    return test::read_golden_texts("smollm2_greedy.json").prompts;
  }

  nlohmann::json run_batch(const std::string& flags) const {
    return run_json("--ignore-eos --max-tokens 64 " + flags,
                    {"--model", test::real_model_path(), "--prompts", write_prompts(golden())});
  }
};

class RealModelLayouts : public RealModel, public testing::WithParamInterface<const char*> {};

TEST_P(RealModelLayouts, OneBatchGivesTheTokensOfTransformers) {
  const auto result = run_batch(std::string(GetParam()) + " --strict");
  test::expect_tokens(result, golden());
  test::expect_promised(result);
}

std::string name_of(const testing::TestParamInfo<const char*>& layout) {
  std::string name = layout.param;
  std::erase_if(name, [](char c) { return c == ' ' || c == '-'; });
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, RealModelLayouts,
                         testing::Values("--tp 1", "--tp 3", "--tp 2 --attn-dp 2",
                                         "--tp 2 --attn-cp 2", "--tp 4 --attn-dp 4",
                                         "--tp 4 --attn-dp 2 --attn-cp 2", "--tp 4 --attn-cp 4",
                                         "--tp 6 --attn-dp 2", "--tp 6 --attn-cp 2",
                                         "--tp 8 --attn-dp 4 --attn-cp 2"),
                         name_of);

class RealModelPrompts : public RealModel, public testing::WithParamInterface<const char*> {};

TEST_P(RealModelPrompts, SinglePromptsGiveTheTokensOfTransformers) {
  for (const auto& prompt : golden()) {
    SCOPED_TRACE(prompt.name);
    const auto result =
        run_json(std::string("--ignore-eos --strict --max-tokens 64 ") + GetParam(),
                 {"--model", test::real_model_path(), "--prompts", write_prompts({prompt})});
    test::expect_tokens(result, {prompt});
  }
}

INSTANTIATE_TEST_SUITE_P(Two, RealModelPrompts,
                         testing::Values("--tp 3", "--tp 4 --attn-dp 2 --attn-cp 2"), name_of);

TEST_F(RealModel, WithoutSymmetricMemoryTheTokensAreTheSame) {
  const auto result = run_batch("--tp 4 --attn-dp 2 --attn-cp 2 --symmetric off");
  test::expect_tokens(result, golden());
  test::expect_staged(result);
}

TEST_F(RealModel, SmallStepsGiveTheSameTokens) {
  const auto result =
      run_batch("--tp 2 --attn-cp 2 --max-step-tokens 200 --max-sequences 3 --context 1600");
  test::expect_tokens(result, golden());
}

TEST_F(RealModel, DrawnTokensDoNotDependOnTheLayout) {
  const auto draw = [&](const std::string& layout) {
    const auto result =
        run_json("--max-tokens 24 --temperature 0.9 --top-k 50 --top-p 0.95 --seed 11 " + layout,
                 {"--model", test::real_model_path(), "--prompt", "Once upon a time", "--prompt",
                  "The best way to learn a language is"});
    std::vector<nlohmann::json> tokens;
    for (const auto& prompt : result.at("prompts")) tokens.push_back(prompt.at("tokens"));
    return tokens;
  };
  const auto alone = draw("--tp 1");
  EXPECT_EQ(draw("--tp 4 --attn-dp 2 --attn-cp 2"), alone);
  EXPECT_EQ(draw("--tp 3"), alone);
}

TEST_F(RealModel, Bf16WritesSenseOrSaysThatTheCpuCannot) {
  const std::vector<std::string> arguments = {"generate",
                                              "--model",
                                              test::real_model_path(),
                                              "--dtype",
                                              "bf16",
                                              "--tp",
                                              "2",
                                              "--attn-cp",
                                              "2",
                                              "--max-tokens",
                                              "8",
                                              "--prompt",
                                              "The capital of France is",
                                              "--json",
                                              "--strict"};
  const test::Finished finished = run(arguments);
  const auto result = nlohmann::json::parse(finished.output);
  if (result.contains("error")) {
    EXPECT_EQ(finished.exit_code, 2);
    EXPECT_EQ(result.at("error").at("code"), "unsupported");
    GTEST_SKIP() << result.at("error").at("message");
  }
  EXPECT_THAT(result.at("prompts")[0].at("completion").get<std::string>(), StartsWith(" Paris"));
}

TEST_F(RealModel, TextStreamsAndTheTableEndsIt) {
  const test::Finished finished =
      run({"generate", "--model", test::real_model_path(), "--chat", "--prompt",
           "What is the capital of France?", "--tp", "4", "--attn-dp", "2", "--attn-cp", "2"});
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(finished.errors, "");
  EXPECT_THAT(finished.output, HasSubstr("Paris"));
  EXPECT_THAT(finished.output, HasSubstr("\n  op "));
  EXPECT_THAT(finished.output, HasSubstr("host_inline"));
  EXPECT_THAT(finished.output, HasSubstr("0 registrations since commit"));
}

}  // namespace
}  // namespace cohort
