#include "pasted_command.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/error.hpp>

#include "run_command.hpp"

namespace cohort {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

LayoutSizes read(const std::string& text) {
  return sizes_of({}, read_pasted_command(text));
}

std::string refusal(const std::string& text, const LayoutFlags& flags = {}) {
  try {
    static_cast<void>(layout_of(flags, read_pasted_command(text)));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return {};
}

constexpr const char* kSglang = R"(# on each node
CUDA_VISIBLE_DEVICES=0,1 python3 -m sglang.launch_server \
  --model-path "deepseek-ai/DeepSeek V3" --trust-remote-code \
  --tp-size 16 --data-parallel-size=2 --enable-dp-attention \
  --attn-cp-size 4 --ep-size 8 --moe-dp-size 2 --dcp-size 2 --nnodes 2 \
  --port 30000 > server.log 2>&1 &
)";

TEST(PastedCommand, OfSglang) {
  const PastedCommand pasted = read_pasted_command(kSglang);
  EXPECT_EQ(pasted.engine, "SGLang");
  EXPECT_EQ(sizes_of({}, pasted), (LayoutSizes{.tp = 16,
                                               .attn_dp = 2,
                                               .attn_cp = 4,
                                               .ep = 8,
                                               .moe_dp = 2,
                                               .dcp = 2,
                                               .ranks_per_host = 8}));
  EXPECT_THAT(pasted.ignored,
              ElementsAre("CUDA_VISIBLE_DEVICES=0,1", "--model-path deepseek-ai/DeepSeek V3",
                          "--trust-remote-code", "--port 30000"));
  EXPECT_THAT(pasted.notes, IsEmpty());
}

TEST(PastedCommand, SpellingsAreOneFlag) {
  EXPECT_EQ(read("sglang serve --tensor-parallel-size 8 --pipeline-parallel-size 2 "
                 "--attention-context-parallel-size 2 --expert-parallel-size 4 "
                 "--moe-data-parallel-size 2 --decode-context-parallel-size 2"),
            read("python -m sglang.launch_server --tp 8 --pp 2 --attn-cp-size 2 --ep 4 "
                 "--moe-dp-size 2 --dcp-size 2"));
}

TEST(PastedCommand, BackslashesMayBeLost) {
  EXPECT_EQ(read("sglang serve --tp 8\n  --ep-size 2\n\n--pp 2\nls --tp 4"),
            (LayoutSizes{.tp = 8, .ep = 2, .pp = 2}));
}

TEST(PastedCommand, ReplicasOfSglangWithoutSharedAttentionAreServers) {
  const PastedCommand pasted = read_pasted_command("sglang serve --tp 4 --dp-size 2");
  EXPECT_EQ(sizes_of({}, pasted), (LayoutSizes{.tp = 4}));
  ASSERT_EQ(pasted.notes.size(), 1U);
  EXPECT_THAT(pasted.notes[0], HasSubstr("--dp-size 2 without --enable-dp-attention"));
}

TEST(PastedCommand, BackendsThatExchangeTokensSpreadTheExperts) {
  EXPECT_EQ(read("sglang serve --tp 8 --moe-a2a-backend deepep").ep, 8U);
  EXPECT_EQ(read("sglang serve --tp 8 --ep 2 --moe-a2a-backend none").ep, 2U);
  const PastedCommand pasted =
      read_pasted_command("sglang serve --tp 8 --ep 2 --moe-a2a-backend deepep");
  EXPECT_EQ(sizes_of({}, pasted).ep, 8U);
  EXPECT_EQ(pasted.notes.size(), 1U);
}

TEST(PastedCommand, OfVllm) {
  const PastedCommand pasted = read_pasted_command(
      "vllm serve org/model --tensor-parallel-size 4 -dp 2 --prefill_context_parallel_size 2 "
      "-dcp=2 --enable-expert-parallel --max-model-len 8192 --compilation-config '{\"level\": 3}'");
  EXPECT_EQ(pasted.engine, "vLLM");
  EXPECT_EQ(sizes_of({}, pasted),
            (LayoutSizes{.tp = 16, .attn_dp = 2, .attn_cp = 2, .ep = 16, .dcp = 2}));
  EXPECT_EQ(Layout(sizes_of({}, pasted)).attn_tp(), 4U) << "a replica has its own ranks";
  EXPECT_THAT(pasted.ignored, ElementsAre("org/model", "--max-model-len 8192",
                                          "--compilation-config {\"level\": 3}"));
  EXPECT_EQ(pasted.notes.size(), 1U);
  EXPECT_EQ(read("python -m vllm.entrypoints.openai.api_server --model m -tp 2").tp, 2U);
}

TEST(PastedCommand, ContradictionsNameBothFlags) {
  EXPECT_EQ(refusal("sglang serve --tp-size 4 --tensor-parallel-size=8"),
            "--from: --tp-size 4 contradicts --tensor-parallel-size=8: the command has both");
  LayoutFlags flags;
  flags.tp = 2;
  EXPECT_EQ(refusal("sglang serve --tp-size 4", flags),
            "--tp 2 contradicts --tp-size 4 of the pasted command: give one of them");
  EXPECT_THAT(refusal("sglang serve --tp 4 --dp-size 3 --enable-dp-attention"),
              HasSubstr("(SGLang's command says --tp 4, --dp-size 3"));
  EXPECT_THAT(refusal("sglang serve --tp 4 --nnodes 3"), HasSubstr("--nnodes 3 does not divide"));
  EXPECT_THAT(refusal("vllm serve -tp 2 -dcp 4"), HasSubstr("-dcp 4 does not divide -tp 2"));
  EXPECT_THAT(refusal("sglang serve --tp 8 --attn-dp-size 2 --dp-size 4 --enable-dp-attention"),
              HasSubstr("--attn-dp-size 2 contradicts --dp-size 4"));
}

TEST(PastedCommand, AgreementIsNoContradiction) {
  LayoutFlags flags;
  flags.tp = 4;
  flags.ranks_per_host = 2;
  EXPECT_EQ(sizes_of(flags, read_pasted_command("sglang serve --tp 4 --tp-size=4")),
            (LayoutSizes{.tp = 4, .ranks_per_host = 2}));
}

TEST(PastedCommand, WhatIsNoneIsRefused) {
  EXPECT_THAT(refusal("llama-server -m x"), HasSubstr("holds no command that starts a server"));
  EXPECT_THAT(refusal(""), HasSubstr("holds no command"));
  EXPECT_THAT(refusal("vllm serve a; vllm serve b"), HasSubstr("two commands"));
  EXPECT_THAT(refusal("vllm serve 'a"), HasSubstr("not closed"));
  EXPECT_EQ(refusal("vllm serve a -tp $TP"),
            "--from: -tp: '$TP' is not a whole number from 1 to 65536; put its value there");
  EXPECT_THAT(refusal("sglang serve --tp"), HasSubstr("--tp of the command has no value"));
  EXPECT_THAT(refusal("sglang serve --tp --port 1"), HasSubstr("has no value"));
  EXPECT_THAT(refusal("vllm serve a -tp 60000 -dp 60000"), HasSubstr("more than 65536 ranks"));
}

TEST(PastedCommand, GroupsListsWhatWasReadAndIgnored) {
  const auto text = test::run_command({"groups", "--from", kSglang});
  EXPECT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_THAT(text.output, HasSubstr("\nFrom the command of SGLang:\nread      --tp-size 16 (here "
                                     "--tp 16), "));
  EXPECT_THAT(text.output, HasSubstr("ignored   CUDA_VISIBLE_DEVICES=0,1, --model-path "));
  const auto json = test::run_command({"groups", "--json", "--from", kSglang});
  const auto document = nlohmann::json::parse(json.output);
  EXPECT_EQ(document.at("world"), 16);
  EXPECT_EQ(document.at("from").at("engine"), "SGLang");
  EXPECT_EQ(document.at("from").at("ignored").size(), 4U);
}

}  // namespace
}  // namespace cohort
