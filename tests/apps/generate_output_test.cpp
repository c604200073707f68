#include "generate_output.hpp"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "model/gguf.hpp"
#include "model/tokenizer_from_gguf.hpp"
#include "support/golden_model.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;

TokenOutcome text(std::size_t request, TokenId token) {
  TokenOutcome outcome;
  outcome.request = request;
  outcome.token = token;
  outcome.is_text = true;
  return outcome;
}

TokenOutcome last(std::size_t request, TokenId token) {
  TokenOutcome outcome = text(request, token);
  outcome.finished = FinishReason::length;
  return outcome;
}

class CompletionStreams : public testing::Test {
 protected:
  CompletionStreams() : tokenizer_(load_tokenizer(GgufFile::open(test::tiny_model_path()))) {}

  std::vector<TokenId> tokens_of(const std::string& words) const {
    return tokenizer_.encode(words).ids;
  }

  Tokenizer tokenizer_;
};

TEST_F(CompletionStreams, OnePromptStreamsWithoutAHeading) {
  std::ostringstream output;
  const std::vector<Prompt> prompts = {{"Once", {1}}};
  CompletionStream stream(output, prompts, tokenizer_);
  const auto tokens = tokens_of("upon a");
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) stream.push(text(0, tokens[i]));
  const std::string before = output.str();
  EXPECT_EQ(before, std::string("upon a").substr(0, before.size()));
  EXPECT_FALSE(before.empty());
  stream.push(last(0, tokens.back()));
  EXPECT_EQ(output.str(), "upon a\n");
}

TEST_F(CompletionStreams, LaterPromptsWaitForTheirTurn) {
  std::ostringstream output;
  const std::vector<Prompt> prompts = {{"Once", {1, 2}}, {"Twice\nand again", {3}}};
  CompletionStream stream(output, prompts, tokenizer_);
  EXPECT_EQ(output.str(), "[1/2] Once (2 tokens)\n");
  const TokenId a = tokens_of("a").front();
  const TokenId b = tokens_of("b").front();
  stream.push(text(1, b));
  stream.push(text(0, a));
  stream.push(last(1, b));
  EXPECT_EQ(output.str(), "[1/2] Once (2 tokens)\na");
  stream.push(last(0, a));
  EXPECT_EQ(output.str(), "[1/2] Once (2 tokens)\naa\n\n[2/2] Twice... (1 tokens)\nbb\n");
}

TEST_F(CompletionStreams, ACharacterOfSeveralTokensIsWrittenWhole) {
  std::ostringstream output;
  const std::vector<Prompt> prompts = {{"Sea", {1}}};
  CompletionStream stream(output, prompts, tokenizer_);
  const std::string wave = "\xf0\x9f\x8c\x8a";
  const auto tokens = tokens_of(wave);
  ASSERT_GT(tokens.size(), 1U);
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) stream.push(text(0, tokens[i]));
  EXPECT_EQ(output.str(), "");
  stream.push(last(0, tokens.back()));
  EXPECT_EQ(output.str(), wave + "\n");
}

TEST_F(CompletionStreams, TheTokenThatEndsAnAnswerIsNotWritten) {
  std::ostringstream output;
  const std::vector<Prompt> prompts = {{"Once", {1}}};
  CompletionStream stream(output, prompts, tokenizer_);
  TokenOutcome stop = last(0, tokens_of("a").front());
  stop.is_text = false;
  stream.push(stop);
  EXPECT_EQ(output.str(), "\n");
}

GenerateResult some_result() {
  GenerateResult result;
  result.prompts = {{"Once", {1, 2}}, {"Twice", {3}}};
  result.completions = {{{4, 5}, " upon\xff", FinishReason::stop, 0},
                        {{6}, "x", FinishReason::length, 1}};
  LedgerRow row;
  row.group = GroupKind::tp;
  row.ranks = {WorldRank{0}, WorldRank{1}};
  row.op = Op::all_gatherv;
  row.path = Path::host_inline;
  row.calls = 3;
  row.bytes = 99;
  row.wait_s = 0.5;
  result.communication = {row};
  result.planned_bytes = {200, 100};
  result.measured_bytes = {200, 100};
  result.ranks.resize(2);
  result.ranks[1].rank = WorldRank{1};
  result.ranks[1].stalls = 2;
  result.ranks[1].stalled_s = 3.125;
  result.ranks[1].last_stalled_on = WorldRank{0};
  result.load_s = 1.5;
  result.timing = {.prefill_s = 2, .decode_s = 4, .prefill_tokens = 3, .decode_tokens = 8};
  return result;
}

TEST(GenerateOutput, JsonHoldsWhatThereIsToKnow) {
  std::ostringstream output;
  print_json(some_result(), Layout({.tp = 2, .attn_dp = 2}), output);
  const auto json = nlohmann::json::parse(output.str());
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("version"), COHORT_VERSION);
  const auto& prompt = json.at("prompts").at(0);
  EXPECT_EQ(prompt.at("prompt"), "Once");
  EXPECT_EQ(prompt.at("prompt_tokens"), 2);
  EXPECT_EQ(prompt.at("completion"), " upon\xef\xbf\xbd");
  EXPECT_EQ(prompt.at("tokens"), nlohmann::json({4, 5}));
  EXPECT_EQ(prompt.at("finish_reason"), "stop");
  EXPECT_EQ(json.at("prompts").at(1).at("replica"), 1);
  EXPECT_EQ(json.at("layout").at("attn_dp"), 2);
  const auto& row = json.at("communication").at(0);
  EXPECT_EQ(row.at("group"), "tp");
  EXPECT_EQ(row.at("ranks"), nlohmann::json({0, 1}));
  EXPECT_EQ(row.at("op"), "all_gatherv");
  EXPECT_EQ(row.at("path"), "host_inline");
  EXPECT_EQ(row.at("reason"), "ok");
  EXPECT_EQ(row.at("calls"), 3);
  EXPECT_EQ(row.at("bytes"), 99);
  EXPECT_EQ(row.at("copied_bytes"), 0);
  EXPECT_EQ(row.at("wait_s"), 0.5);
  EXPECT_EQ(json.at("registrations_since_commit"), 0);
  EXPECT_EQ(
      json.at("stalls"),
      nlohmann::json::parse(R"([{"rank":1,"count":2,"stalled_s":3.125,"last_stalled_on":0}])"));
  EXPECT_EQ(json.at("footprint").at("planned_bytes"), nlohmann::json({200, 100}));
  EXPECT_EQ(json.at("timing").at("load_s"), 1.5);
  EXPECT_EQ(json.at("timing").at("tokens_per_s"), 2);
}

TEST(GenerateOutput, SummaryTellsLayoutTableMemoryAndTimes) {
  std::ostringstream output;
  print_summary(some_result(), Layout({.tp = 2, .attn_dp = 2}), output);
  EXPECT_THAT(output.str(), HasSubstr("2 ranks: attention data-parallel 2"));
  EXPECT_THAT(output.str(), HasSubstr("all_gatherv  host_inline  ok"));
  EXPECT_THAT(output.str(), HasSubstr("200 B planned and 200 B measured"));
  EXPECT_THAT(output.str(), HasSubstr("stalls: rank 1 waited 2 times past the limit (3.1 s, the "
                                      "last for rank 0)\n"));
  EXPECT_THAT(output.str(), HasSubstr("decode 8 tokens in 4.00 s, 2.0 tokens/s"));
}

}  // namespace
}  // namespace cohort
