// The command as a rank of torchrun.

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/generate_job.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::Finished;
using test::GenerateJob;
using testing::HasSubstr;

class GenerateUnderTorchrun : public GenerateJob {
 protected:
  std::unique_ptr<test::Subprocess> start_rank(int rank, int rank_count,
                                               const std::vector<std::string>& words) const {
    return start(words, false,
                 {{"RANK", std::to_string(rank)},
                  {"LOCAL_RANK", std::to_string(rank)},
                  {"WORLD_SIZE", std::to_string(rank_count)},
                  {"MASTER_ADDR", "127.0.0.1"},
                  {"MASTER_PORT", "29500"},
                  {"TORCHELASTIC_RUN_ID", testing::TempDir() + std::to_string(::getpid())}});
  }
};

TEST_F(GenerateUnderTorchrun, WritesWhatItsOwnLauncherWrites) {
  const std::vector<std::string> words{
      "generate", "--json",   "--model",      test::tiny_model_path(),
      "--prompt", "Water is", "--max-tokens", "8"};
  std::vector<std::string> launched = words;
  launched.insert(launched.end(), {"--tp", "2"});
  const Finished expected = run(launched);
  ASSERT_EQ(expected.exit_code, 0) << expected.errors;
  const auto second = start_rank(1, 2, words);
  const auto first = start_rank(0, 2, words);
  const Finished result = first->wait(test::patience(120s));
  const Finished silent = second->wait(test::patience(120s));
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(silent.exit_code, 0) << silent.errors;
  EXPECT_EQ(silent.output, "");
  const auto json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json.at("layout").at("ranks"), 2) << "from WORLD_SIZE";
  EXPECT_EQ(json.at("prompts").at(0).at("tokens"),
            nlohmann::json::parse(expected.output).at("prompts").at(0).at("tokens"));
}

TEST_F(GenerateUnderTorchrun, FlagsThatContradictItAreRefused) {
  for (const auto& [flags, text] :
       {std::pair{"--tp 4", "--tp 4 contradicts WORLD_SIZE=2 of torchrun"},
        std::pair{"--ranks 3", "--ranks 3 contradicts WORLD_SIZE=2 of torchrun"},
        std::pair{"--attn-dp 3", "--attn-dp"}}) {
    std::vector<std::string> words{"generate", "--model", test::tiny_model_path(), "--prompt", "x"};
    for (const std::string& word : test::words(flags)) words.push_back(word);
    const Finished finished = start_rank(0, 2, words)->wait(test::patience(60s));
    EXPECT_EQ(finished.exit_code, 2) << finished.errors;
    EXPECT_THAT(finished.errors, HasSubstr(text));
  }
}

TEST_F(GenerateUnderTorchrun, CommandsThatStartTheirRanksAreRefused) {
  for (const std::string command : {"bench", "check", "faults", "tune", "bench layer"}) {
    const Finished finished = start_rank(1, 2, test::words(command))->wait(test::patience(60s));
    EXPECT_EQ(finished.exit_code, 2) << command;
    EXPECT_EQ(finished.errors, "cohort: error: 'cohort " + command +
                                   "' starts its ranks itself, and RANK=1 with WORLD_SIZE=2 says "
                                   "that torchrun has started it: run it without torchrun\n");
  }
}

}  // namespace
}  // namespace cohort
