#include "generate_prompts.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "model/tokenizer_from_gguf.hpp"
#include "support/golden_model.hpp"

namespace cohort {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class GeneratePrompts : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            (std::string("cohort-prompts-") + test->name() + ".jsonl");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::vector<std::string> read(const std::string& content) {
    std::ofstream(path_, std::ios::binary) << content;
    GenerateFlags flags;
    flags.prompts_file = path_.string();
    std::istringstream nothing;
    return read_prompt_texts(flags, nothing);
  }

  std::string error_of(const std::string& content) {
    try {
      read(content);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path path_;
};

TEST_F(GeneratePrompts, FileHoldsStringsAndObjects) {
  EXPECT_THAT(read("\"one\"\n\n{\"prompt\": \"two\\nlines\", \"id\": 7}\r\n  \"three\"  "),
              ElementsAre("one", "two\nlines", "three"));
}

TEST_F(GeneratePrompts, WrongLinesAreNamed) {
  EXPECT_THAT(error_of("\"one\"\n{\"text\": \"two\"}\n"), HasSubstr("line 2"));
  EXPECT_THAT(error_of("\n\n[1]\n"), HasSubstr("line 3"));
  EXPECT_THAT(error_of("\"one\n"), HasSubstr("line 1 is not JSON"));
  EXPECT_THAT(error_of("\"\\ud800\"\n"), HasSubstr("line 1 is not JSON"));
  EXPECT_THAT(error_of("\"one\"\n\"\"\n"), HasSubstr("prompt 2 is empty"));
  EXPECT_THAT(error_of(""), HasSubstr("holds no prompt"));
}

TEST_F(GeneratePrompts, StandardInputIsOnePromptWithoutItsLastLineEnd) {
  std::istringstream input("two\nlines\n");
  EXPECT_THAT(read_prompt_texts({}, input), ElementsAre("two\nlines"));
  std::istringstream empty("\n");
  EXPECT_THROW(read_prompt_texts({}, empty), Error);
}

TEST_F(GeneratePrompts, FlagsGoBeforeStandardInput) {
  GenerateFlags flags;
  flags.prompts = {"a", "b"};
  std::istringstream input("not read");
  EXPECT_THAT(read_prompt_texts(flags, input), ElementsAre("a", "b"));
}

TEST_F(GeneratePrompts, TokensAndTextsArriveAsTheyWereSent) {
  const std::vector<Prompt> prompts = {{"one", {1, 2, 3}}, {"", {}}, {"\xf0\x9f\x8c\x8a", {49151}}};
  const auto received = decode_prompts(encode_prompts(prompts));
  ASSERT_EQ(received.size(), prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(received[i].text, prompts[i].text);
    EXPECT_EQ(received[i].tokens, prompts[i].tokens);
  }
}

TEST_F(GeneratePrompts, AMessageThatIsCutShortOrNoiseIsRefused) {
  const std::vector<Prompt> prompts = {{"one", {1, 2, 3}}, {"two", {4}}};
  const std::vector<std::byte> whole = encode_prompts(prompts);
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_THROW(decode_prompts(std::span(whole).first(bytes)), Error) << bytes;
  }
  const std::vector<std::byte> noise(64, std::byte{0xff});
  EXPECT_THROW(decode_prompts(noise), Error);
}

TEST_F(GeneratePrompts, TokensAreThoseOfTransformers) {
  const GgufFile file = GgufFile::open(test::tiny_model_path());
  const Tokenizer tokenizer = load_tokenizer(file);
  for (const auto& golden : test::read_golden_texts("tiny_greedy.json").prompts) {
    const auto prompts = tokenize_prompts({golden.text}, file, tokenizer, /*chat=*/false);
    EXPECT_EQ(prompts[0].tokens, golden.ids) << golden.name;
  }
}

TEST_F(GeneratePrompts, TextThatIsNotUtf8NamesThePrompt) {
  const GgufFile file = GgufFile::open(test::tiny_model_path());
  const Tokenizer tokenizer = load_tokenizer(file);
  try {
    tokenize_prompts({"fine", "\xff"}, file, tokenizer, /*chat=*/false);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.what(), HasSubstr("prompt 2"));
  }
}

}  // namespace
}  // namespace cohort
