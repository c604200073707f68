// Runs `cohort generate` as a user does and looks at what it leaves behind.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/golden_model.hpp"
#include "support/subprocess.hpp"

namespace cohort::test {

/// "--tp 4 --attn-dp 2" in pieces.
std::vector<std::string> words(const std::string& text);

/// A folder of its own for each test; when it ends no process and no file of its jobs may be left.
class GenerateJob : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// A file in the test's folder.
  std::string write_file(const std::string& name, const std::string& content) const;

  /// The texts as a file for --prompts.
  std::string write_prompts(const std::vector<GoldenTexts::Prompt>& prompts) const;

  /// Starts `cohort ARGUMENTS`. With `one_stream` errors go where the output goes.
  std::unique_ptr<Subprocess> start(const std::vector<std::string>& arguments,
                                    bool one_stream = false,
                                    Subprocess::Variables variables = {}) const;

  /// Runs it to its end.
  Finished run(const std::vector<std::string>& arguments) const;

  /// Runs `cohort generate --json FLAGS ARGUMENTS`, which must succeed.
  nlohmann::json run_json(const std::string& flags,
                          const std::vector<std::string>& arguments) const;

  /// The process of one rank of this test's jobs; waits for it.
  pid_t pid_of_rank(std::uint32_t rank) const;

 private:
  std::string mark_;
  std::filesystem::path directory_;
};

/// Fails unless every prompt got its golden tokens.
void expect_tokens(const nlohmann::json& result, const std::vector<GoldenTexts::Prompt>& golden);

/// Fails unless all communication took the promised paths and memory is as planned.
void expect_promised(const nlohmann::json& result);

/// Fails unless every exchange between ranks was staged because symmetric memory is off.
void expect_staged(const nlohmann::json& result);

}  // namespace cohort::test
