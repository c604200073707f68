#include "pasted_command.hpp"

#include <optional>
#include <string>
#include <vector>

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

LayoutSizes sizes_with(const LayoutFlags& flags, const std::string& text) {
  std::optional<PastedCommand> pasted = read_pasted_command(text);
  return sizes_of(flags, pasted);
}

LayoutSizes read(const std::string& text) {
  return sizes_with({}, text);
}

std::vector<std::string> notes_of(const LayoutFlags& flags, const std::string& text) {
  std::optional<PastedCommand> pasted = read_pasted_command(text);
  static_cast<void>(sizes_of(flags, pasted));
  return pasted->notes;
}

std::string refusal(const std::string& text) {
  try {
    std::optional<PastedCommand> pasted = read_pasted_command(text);
    static_cast<void>(layout_of({}, pasted));
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
  std::optional<PastedCommand> command = read_pasted_command(kSglang);
  const PastedCommand& pasted = *command;
  EXPECT_EQ(pasted.engine, "SGLang");
  EXPECT_EQ(sizes_of({}, command), (LayoutSizes{.tp = 16,
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
  const std::string text = "sglang serve --tp 4 --dp-size 2";
  EXPECT_EQ(read(text), (LayoutSizes{.tp = 4}));
  EXPECT_THAT(notes_of({}, text),
              ElementsAre(HasSubstr("--dp-size 2 without --enable-dp-attention")));
}

TEST(PastedCommand, BackendsThatExchangeTokensSpreadTheExperts) {
  EXPECT_EQ(read("sglang serve --tp 8 --moe-a2a-backend deepep").ep, 8U);
  EXPECT_EQ(read("sglang serve --tp 8 --ep 2 --moe-a2a-backend none").ep, 2U);
  const std::string text = "sglang serve --tp 8 --ep 2 --moe-a2a-backend deepep";
  EXPECT_EQ(read(text).ep, 8U);
  EXPECT_EQ(notes_of({}, text).size(), 1U);
}

TEST(PastedCommand, OfVllm) {
  std::optional<PastedCommand> command = read_pasted_command(
      "vllm serve org/model --tensor-parallel-size 4 -dp 2 --prefill_context_parallel_size 2 "
      "-dcp=2 --enable-expert-parallel --max-model-len 8192 --compilation-config '{\"level\": 3}'");
  const PastedCommand& pasted = *command;
  EXPECT_EQ(pasted.engine, "vLLM");
  EXPECT_EQ(sizes_of({}, command),
            (LayoutSizes{.tp = 16, .attn_dp = 2, .attn_cp = 2, .ep = 16, .dcp = 2}));
  EXPECT_EQ(Layout(sizes_of({}, command)).attn_tp(), 4U) << "a replica has its own ranks";
  EXPECT_THAT(pasted.ignored, ElementsAre("org/model", "--max-model-len 8192",
                                          "--compilation-config {\"level\": 3}"));
  EXPECT_EQ(pasted.notes.size(), 1U);
  EXPECT_EQ(read("python -m vllm.entrypoints.openai.api_server --model m -tp 2").tp, 2U);
}

TEST(PastedCommand, ContradictionsNameBothFlags) {
  EXPECT_EQ(refusal("sglang serve --tp-size 4 --tensor-parallel-size=8"),
            "--from: --tp-size 4 contradicts --tensor-parallel-size=8: the command has both");
  EXPECT_THAT(refusal("sglang serve --tp 4 --dp-size 3 --enable-dp-attention"),
              HasSubstr("(SGLang's command says --tp 4, --dp-size 3"));
  EXPECT_THAT(refusal("sglang serve --tp 4 --nnodes 3"), HasSubstr("--nnodes 3 does not divide"));
  EXPECT_THAT(refusal("vllm serve -tp 2 -dcp 4"), HasSubstr("-dcp 4 does not divide -tp 2"));
  EXPECT_THAT(refusal("sglang serve --tp 8 --attn-dp-size 2 --dp-size 4 --enable-dp-attention"),
              HasSubstr("--attn-dp-size 2 contradicts --dp-size 4"));
}

TEST(PastedCommand, SizesGivenBesidesCountAndANoteSaysSo) {
  LayoutFlags flags;
  flags.tp = 4;
  flags.ranks_per_host = 2;
  EXPECT_EQ(sizes_with(flags, "sglang serve --tp 4 --tp-size=4"),
            (LayoutSizes{.tp = 4, .ranks_per_host = 2}));
  EXPECT_THAT(notes_of(flags, "sglang serve --tp 4"), IsEmpty()) << "they agree";
  EXPECT_EQ(sizes_with(flags, "vllm serve m -tp 8 -dp 2").tp, 4U);
  EXPECT_THAT(notes_of(flags, "vllm serve m -tp 8"),
              ElementsAre("--tp 4 is given besides and counts, not -tp 8 (here --tp 8)"));
  LayoutFlags replicas;
  replicas.dp_size = 2;
  replicas.enable_dp_attention = true;
  EXPECT_EQ(sizes_with(replicas, "sglang serve --tp 8 --attn-dp-size 4").attn_dp, 2U);
}

TEST(PastedCommand, WhatIsNoneIsRefused) {
  EXPECT_THAT(refusal("llama-server -m x"), HasSubstr("holds no command that starts a server"));
  EXPECT_THAT(refusal(""), HasSubstr("holds no command"));
  EXPECT_THAT(refusal("vllm serve a; vllm serve b -tp 2"), HasSubstr("two commands"));
  EXPECT_THAT(refusal("vllm serve 'a"), HasSubstr("not closed"));
  EXPECT_EQ(refusal("vllm serve a -tp $TP"),
            "--from: -tp: '$TP' is not a whole number from 1 to 65536; put its value there");
  EXPECT_THAT(refusal("sglang serve --tp"), HasSubstr("--tp of the command has no value"));
  EXPECT_THAT(refusal("sglang serve --tp --port 1"), HasSubstr("has no value"));
}

TEST(PastedCommand, MoreRanksThanThereCanBeAreRefused) {
  EXPECT_EQ(refusal("sglang serve --tp-size 65536 --pp-size 65536 --nnodes 2"),
            "--from: --tp-size 65536, --pp-size 65536 make more than 65536 ranks, the most there "
            "can be");
  EXPECT_THAT(refusal("sglang serve --tp-size 65536 --pp-size 65536"),
              HasSubstr("more than 65536 ranks"));
  EXPECT_THAT(refusal("vllm serve a -tp 60000 -dp 60000"), HasSubstr("more than 65536 ranks"));
  EXPECT_THAT(refusal("vllm serve a -tp 65536 -dp 65536 -pcp 65536 -pp 65536 -n 2"),
              HasSubstr("more than 65536 ranks"))
      << "the product of all is a multiple of 2^64";
  EXPECT_THAT(refusal("vllm serve a -tp 256 -dp 256 -pp 2"), HasSubstr("more than 65536 ranks"));
  EXPECT_EQ(read("vllm serve a -tp 256 -dp 256").tp, 65536U);
}

/// A command as people start it, and what is to be read from it.
struct Start {
  const char* text;
  std::uint32_t tp;
  const char* before;  ///< what is listed first as ignored
};

constexpr Start kStarts[] = {
    {"python3 -u -m vllm.entrypoints.openai.api_server --model m --tensor-parallel-size=8", 8,
     "--model m"},
    {"python vllm/entrypoints/openai/api_server.py -tp 8 --model m", 8, "--model m"},
    {"env A=1 B=x=y /opt/venv/bin/python3.11 -m sglang.launch_server --tp=8", 8, "A=1"},
    {"$ vllm serve m -tp 8", 8, "m"},
    {"uv run --with vllm vllm serve m -tp 8", 8, "uv run --with vllm"},
    {"docker run --gpus all --shm-size=32g lmsysorg/sglang:latest python3 -m "
     "sglang.launch_server --tp 8",
     8, "docker run --gpus all --shm-size=32g lmsysorg/sglang:latest"},
    {"docker pull vllm/vllm-openai:v0.11\ndocker run -p 8000:8000 vllm/vllm-openai:v0.11 "
     "--model m --tensor-parallel-size 8",
     8, "docker run -p 8000:8000 vllm/vllm-openai:v0.11"},
    {"docker run vllm/vllm-openai vllm serve m -tp 8", 8, "docker run vllm/vllm-openai"},
    {"docker run i bash -lc 'pip install x && python -m sglang.launch_server --tp 8'", 8,
     "docker run i bash -lc"},
    {"ssh node1 \"cd x; A=1 vllm serve m -tp 8\"", 8, "ssh node1"},
    {"(cd x && vllm serve m -tp 8)", 8, "m"},
    {"srun -N 2 bash -c \"bash -c 'vllm serve m -tp 8'\"", 8, "srun -N 2 bash -c"},
    {"vllm serve m --host $(hostname -I | awk '{print $1}') --port `cat p; echo` -tp 8", 8, "m"},
    {"vllm serve m --x \"$(a \"b\"; c)\" --y ${Z:-a b} --z <(echo 'a)') -tp 8", 8, "m"},
    {"vllm serve m `\n  -tp 8 ^\r\n  -pp 1", 8, "m"},
    {"vllm serve m\xC2\xA0\\\xC2\xA0\n-tp\xC2\xA0"
     "8",
     8, "m"},
    {"sglang serve --tensor-parallel 8", 8, nullptr},
};

TEST(PastedCommand, IsFoundHoweverItIsStarted) {
  for (const Start& start : kStarts) {
    SCOPED_TRACE(start.text);
    const PastedCommand pasted = read_pasted_command(start.text);
    EXPECT_EQ(pasted.layout.tp, start.tp);
    if (start.before == nullptr) continue;
    ASSERT_FALSE(pasted.ignored.empty());
    EXPECT_EQ(pasted.ignored[0], start.before);
  }
}

TEST(PastedCommand, TorchrunIsNoLauncherOfServers) {
  const std::string text = "torchrun --nproc-per-node 8 -m sglang.launch_server --tp 4";
  EXPECT_THAT(read_pasted_command(text).ignored, ElementsAre("torchrun --nproc-per-node 8"));
  EXPECT_THAT(notes_of({}, text), ElementsAre(HasSubstr("this is the layout of one such server")));
  EXPECT_EQ(read(text).tp, 4U);
}

TEST(PastedCommand, WhatIsListedCannotSteerATerminal) {
  const PastedCommand pasted = read_pasted_command(
      "vllm serve 'm\x1b[2J' --tp 2 --chat-template '" + std::string(1000, 'x') + "'");
  ASSERT_EQ(pasted.ignored.size(), 2U);
  EXPECT_EQ(pasted.ignored[0], "m\\x1b[2J");
  EXPECT_LT(pasted.ignored[1].size(), 300U);
}

TEST(PastedCommand, SecretsAreNotRepeated) {
  const PastedCommand pasted = read_pasted_command(
      "HF_TOKEN=hf_1 NCCL_DEBUG=INFO docker run -e AWS_SECRET=x --env=B_KEY=y image python -m "
      "sglang.launch_server --api-key sk-1 --admin-api-key=sk-2 --tokenizer-path t --tp 2");
  EXPECT_THAT(pasted.ignored,
              ElementsAre("HF_TOKEN=...", "NCCL_DEBUG=INFO",
                          "docker run -e AWS_SECRET=... --env=B_KEY=... image", "--api-key ...",
                          "--admin-api-key=...", "--tokenizer-path t"));
}

TEST(PastedCommand, CommandsOfSeveralNodesMayBePastedTogether) {
  const std::string text =
      "# node 0\nsglang serve --tp 16 --nnodes 2 --node-rank 0\n\n# node 1\nsglang serve --tp 16 "
      "--nnodes 2 --node-rank 1\n";
  EXPECT_EQ(read(text), (LayoutSizes{.tp = 16, .ranks_per_host = 8}));
  EXPECT_THAT(notes_of({}, text), ElementsAre(HasSubstr("all 2 commands say the same")));
  EXPECT_THAT(refusal("sglang serve --tp 8; sglang serve --tp 4"), HasSubstr("different sizes"));
}

TEST(PastedCommand, ReplicasOfAHostSayHowManyHostsThereAre) {
  const std::string text = "vllm serve m -tp 2 -dp 16 --data-parallel-size-local 4";
  EXPECT_EQ(read(text), (LayoutSizes{.tp = 32, .attn_dp = 16, .ranks_per_host = 8}));
  EXPECT_EQ(read(text + "\nvllm serve m --headless -tp 2 -dp 16 --data-parallel-size-local 4 "
                        "--data-parallel-start-rank 4")
                .ranks_per_host,
            8U);
  for (const char* none : {"-dpl 0", "-dpl=0"}) {
    const std::string front = std::string("vllm serve -dp 2 ") + none;
    EXPECT_EQ(read(front), (LayoutSizes{.tp = 2, .attn_dp = 2}));
    EXPECT_THAT(read_pasted_command(front).ignored, ElementsAre(none));
  }
  for (const char* uneven :
       {"vllm serve -dp 3 -dpl 2", "vllm serve -dp 2 -dpl 4", "vllm serve -dp 4 -dpl 2 -pp 2"}) {
    EXPECT_EQ(read(uneven).ranks_per_host, 0U);
    EXPECT_THAT(notes_of({}, uneven), testing::Contains(HasSubstr("cannot be shown here")));
  }
}

TEST(PastedCommand, SpellingsOfTheOtherEngineAreReadWithANote) {
  EXPECT_EQ(read("sglang serve -tp 8 -dcp 2"), (LayoutSizes{.tp = 8, .dcp = 2}));
  EXPECT_THAT(notes_of({}, "sglang serve -tp 8"),
              ElementsAre("SGLang has no -tp: it is read as --tensor-parallel-size"));
  EXPECT_EQ(read("vllm serve m --tp 4 --dp-size 2").tp, 8U);
  EXPECT_THAT(read_pasted_command("vllm serve m --ep 2 --enable-dp-attention").ignored,
              ElementsAre("m", "--ep 2", "--enable-dp-attention"))
      << "what means something else there is not borrowed";
  EXPECT_EQ(read("vllm serve m -tp 4 -ep -n 2"),
            (LayoutSizes{.tp = 4, .ep = 4, .ranks_per_host = 2}));
}

TEST(PastedCommand, WhatCannotBeReadFromItIsSaid) {
  EXPECT_THAT(notes_of({}, "vllm serve --config c.yaml -tp 2"),
              ElementsAre("--config c.yaml: sizes in that file are not read"));
  EXPECT_THAT(refusal("vllm serve m \xE2\x80\x93tp 8"), HasSubstr("a dash that is no hyphen"));
  EXPECT_THAT(refusal("sglang serve --tp $(nvidia-smi -L | wc -l)"), HasSubstr("put its value"));
  EXPECT_THAT(refusal("sglang serve --tp $(nproc"), HasSubstr("a $( of the command is not closed"));
  EXPECT_THAT(refusal("bash -c 'sglang serve \"--tp'"), HasSubstr("a quote \" of the command"));
}

TEST(PastedCommand, EveryBeginningIsReadOrRefused) {
  for (const Start& start : kStarts) {
    const std::string text = start.text;
    for (std::size_t size = 0; size < text.size(); ++size) {
      try {
        static_cast<void>(read_pasted_command(text.substr(0, size)));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::usage) << text.substr(0, size);
      }
    }
  }
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
