// What is wrong with flags, files or prompts is one clear line and exit code 2, on any number of
// ranks.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/generate_job.hpp"

namespace cohort {
namespace {

using test::GenerateJob;
using testing::HasSubstr;
using testing::StartsWith;

class BadInput : public GenerateJob {
 protected:
  static std::string tiny() { return test::tiny_model_path(); }

  static std::string tiny_bytes() {
    std::ifstream file(tiny(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// Runs it in three ways, alone, over ranks and with JSON; each must say `message`.
  void expect_refusal(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& fragments,
                      const std::vector<std::string>& layouts = {"--tp 1", "--tp 2"}) const {
    for (const std::string& layout : layouts) {
      std::vector<std::string> all = {"generate"};
      all.insert(all.end(), arguments.begin(), arguments.end());
      for (const std::string& word : test::words(layout)) all.push_back(word);
      SCOPED_TRACE(testing::PrintToString(all));
      const test::Finished finished = run(all);
      EXPECT_EQ(finished.exit_code, 2);
      EXPECT_EQ(finished.output, "");
      EXPECT_EQ(std::count(finished.errors.begin(), finished.errors.end(), '\n'), 1)
          << finished.errors;
      EXPECT_THAT(finished.errors, StartsWith("cohort: error: "));
      all.push_back("--json");
      const test::Finished as_json = run(all);
      EXPECT_EQ(as_json.exit_code, 2);
      EXPECT_EQ(as_json.errors, "");
      const auto document = nlohmann::json::parse(as_json.output, nullptr, false);
      ASSERT_FALSE(document.is_discarded()) << as_json.output;
      const auto message = document.at("error").at("message").get<std::string>();
      for (const std::string& fragment : fragments) {
        EXPECT_THAT(finished.errors, HasSubstr(fragment));
        EXPECT_THAT(message, HasSubstr(fragment));
      }
    }
  }

  void expect_model_refused(const std::string& path,
                            const std::vector<std::string>& fragments) const {
    expect_refusal({"--model", path, "--prompt", "Water"}, fragments);
  }
};

TEST_F(BadInput, ModelFilesThatAreNone) {
  expect_model_refused("missing.gguf", {"missing.gguf"});
  expect_model_refused(write_file("empty.gguf", ""), {"empty.gguf", "empty"});
  std::string noise(5000, ' ');
  std::mt19937 generator(1);
  for (char& byte : noise) byte = static_cast<char>(generator());
  expect_model_refused(write_file("noise.gguf", noise), {"noise.gguf"});
  const std::string bytes = tiny_bytes();
  for (const std::size_t size : {20UL, 3000UL, bytes.size() / 2, bytes.size() - 1}) {
    expect_model_refused(write_file("torn.gguf", bytes.substr(0, size)), {"torn.gguf"});
  }
}

TEST_F(BadInput, ModelsOfAnotherKind) {
  std::string bytes = tiny_bytes();
  // The value of general.architecture follows its key, type and length.
  const std::string key = "general.architecture";
  const std::size_t value = bytes.find(key) + key.size() + 4 + 8;
  ASSERT_EQ(bytes.substr(value, 5), "llama");
  bytes.replace(value, 5, "mamba");
  expect_model_refused(write_file("other.gguf", bytes), {"other.gguf", "mamba"});

  bytes = tiny_bytes();
  // A tensor's description ends with its type and its offset.
  const std::string name = "blk.0.attn_q.weight";
  const std::size_t type = bytes.find(name) + name.size() + 4 + 2 * 8;
  bytes[type] = 16;
  expect_model_refused(write_file("type.gguf", bytes), {"type.gguf", name});
}

TEST_F(BadInput, WeightsThatAreNoNumbers) {
  std::string bytes = tiny_bytes();
  // NaN as f16 and as f32, whatever the last tensor holds.
  for (std::size_t i = bytes.size() - 256; i < bytes.size(); i += 2)
    bytes.replace(i, 2, "\xc0\x7f");
  const std::string path = write_file("nan.gguf", bytes);
  expect_model_refused(path, {"logit"});
  expect_refusal({"--model", path, "--prompt", "Water", "--temperature", "1"}, {"logit"},
                 {"--tp 1", "--tp 4 --attn-dp 2"});
}

TEST_F(BadInput, LayoutsThatTheModelDoesNotFit) {
  expect_refusal({"--model", tiny(), "--prompt", "Water"}, {"head_count", "--tp 3"}, {"--tp 3"});
  expect_refusal({"--model", tiny(), "--prompt", "Water"}, {"--tp 4", "--attn-dp 3"},
                 {"--tp 4 --attn-dp 3"});
  expect_refusal({"--model", tiny(), "--prompt", "Water"}, {"--ranks 3", "--tp 2"},
                 {"--ranks 3 --tp 2"});
  expect_refusal({"--model", tiny(), "--prompt", "Water"}, {"--ep"}, {"--tp 4 --ep 2"});
  expect_refusal({"--model", tiny(), "--prompt", "Water"}, {"--pp"}, {"--tp 2 --pp 2"});
}

TEST_F(BadInput, Prompts) {
  expect_refusal({"--model", tiny(), "--prompt", ""}, {"prompt 1 is empty"});
  expect_refusal({"--model", tiny(), "--prompt", "Water", "--prompt", "\xff"}, {"prompt 2"});
  expect_refusal({"--model", tiny(), "--prompt", "Water Water Water", "--context", "4"},
                 {"prompt 1", "--context 4"});
  expect_refusal({"--model", tiny(), "--prompts", "missing.jsonl"}, {"missing.jsonl"});
  const std::string file = write_file("prompts.jsonl", "\"Water\"\n{\"text\": \"Water\"}\n");
  expect_refusal({"--model", tiny(), "--prompts", file}, {"prompts.jsonl line 2", "\"prompt\""});
  expect_refusal({"--model", tiny(), "--prompts", write_file("torn.jsonl", "{\"prompt\": ")},
                 {"torn.jsonl line 1", "JSON"});
  expect_refusal({"--model", tiny(), "--prompts", write_file("none.jsonl", "\n\n")},
                 {"holds no prompt"});
  expect_refusal({"--model", tiny(), "--prompts", file, "--prompt", "Water"},
                 {"--prompt", "--prompts"});
}

TEST_F(BadInput, Values) {
  const std::vector<std::string> good = {"--model", tiny(), "--prompt", "Water"};
  const auto expect_bad = [&](const std::string& flags, const std::vector<std::string>& fragments) {
    expect_refusal(good, fragments, {flags, "--tp 2 " + flags});
  };
  expect_bad("--max-tokens 0", {"--max-tokens"});
  expect_bad("--context 0", {"--context"});
  expect_bad("--context 1000000", {"--context 1000000"});
  expect_bad("--max-sequences 4000000000", {"--max-sequences 4000000000"});
  expect_bad("--max-step-tokens 4000000000", {"--max-step-tokens 4000000000"});
  expect_bad("--max-sequences 0", {"--max-sequences"});
  expect_bad("--max-step-tokens 0", {"--max-step-tokens"});
  expect_bad("--temperature -1", {"--temperature"});
  expect_bad("--temperature 1 --top-p 2", {"--top-p"});
  expect_bad("--deadline 0", {"--deadline"});
  expect_bad("--deadline nan", {"--deadline"});
  expect_bad("--dtype f16", {"--dtype"});
  expect_bad("--symmetric maybe", {"--symmetric"});
  expect_bad("--ranks 0", {"--ranks"});
}

}  // namespace
}  // namespace cohort
