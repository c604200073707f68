#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_command.hpp"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using Words = std::vector<std::string>;

/// The one line that refuses `words`.
std::string refusal(const Words& words) {
  const auto outcome = test::run_command(words);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.output << outcome.errors;
  EXPECT_EQ(outcome.output, "");
  EXPECT_EQ(std::ranges::count(outcome.errors, '\n'), 1) << outcome.errors;
  return outcome.errors;
}

class FileFlags : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "cohort-flags-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string place(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(place(name)) << text;
    return place(name);
  }

  fs::path folder_;
};

const std::vector<Words> kCommandsWithFiles{
    {"generate", "--model=m", "--report"},
    {"generate", "--model=m", "--trace"},
    {"generate", "--model=m", "--health-file"},
    {"generate", "--model=m", "--prompts"},
    {"generate", "--model=m", "--path-table"},
    {"generate", "--model"},
    {"plan", "--model"},
    {"run", "-n", "2", "--health-file"},
    {"bench", "--report"},
    {"bench", "--plot"},
    {"bench", "--peer-folder"},
    {"bench", "--against"},
    {"faults", "--report"},
    {"tune", "--output"},
    {"groups", "--config"},
};

TEST_F(FileFlags, AnEmptyNameIsRefused) {
  for (Words words : kCommandsWithFiles) {
    const std::string flag = words.back();
    words.emplace_back("");
    if (words.front() == "run") words.insert(words.end(), {"--", "true"});
    EXPECT_THAT(refusal(words), HasSubstr(flag + " is empty: give it a ")) << words.front();
  }
  EXPECT_THAT(refusal({"tune", "-o", ""}), HasSubstr("--output is empty"));
  EXPECT_THAT(refusal({"health", ""}), HasSubstr("file is empty"));
}

TEST_F(FileFlags, AnEmptyNameInAFileIsRefusedWithItsLine) {
  const std::string file = write("job.toml", "[faults]\nreport = ''\n");
  EXPECT_THAT(refusal({"faults", "--config", file}),
              AllOf(HasSubstr("--report is empty"), HasSubstr("from " + file + ":2")));
}

TEST_F(FileFlags, OneFileForTwoOutputsIsRefusedHoweverItIsSpelled) {
  fs::create_directory(place("inner"));
  fs::create_symlink("out", place("link"));
  fs::create_directory_symlink(".", place("here"));
  const std::string out = place("out");
  const std::vector<std::string> spellings{out, place("./out"), place("inner/../out"),
                                           place("link"), place("here/out")};
  // First nothing is there, then the file.
  for (int round = 0; round < 2; ++round) {
    for (const std::string& spelling : spellings) {
      EXPECT_EQ(refusal({"bench", "--report", out, "--plot", spelling}),
                "cohort: error: --report " + out + " and --plot " + spelling +
                    " are the same file, and one would be lost; give two\n");
    }
    write("out", "what was there");
  }
  EXPECT_THAT(refusal({"generate", "--model=m", "--trace", out, "--report", out}),
              AllOf(HasSubstr("--report " + out), HasSubstr("--trace " + out)));
  EXPECT_THAT(refusal({"generate", "--model=m", "--trace", out, "--health-file", out}),
              AllOf(HasSubstr("--health-file " + out), HasSubstr("--trace " + out)));
  std::ifstream file(out);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "what was there");
}

TEST_F(FileFlags, WhatIsReadIsNotWritten) {
  const std::string file = write("file", "");
  EXPECT_THAT(refusal({"generate", "--model", file, "--trace", file}),
              AllOf(HasSubstr("--model " + file), HasSubstr("--trace " + file)));
  EXPECT_THAT(refusal({"generate", "--model=m", "--prompts", file, "--report", file}),
              AllOf(HasSubstr("--prompts " + file), HasSubstr("--report " + file)));
  EXPECT_THAT(refusal({"tune", "--config", file, "-o", file}),
              AllOf(HasSubstr("--config " + file), HasSubstr("--output " + file)));
  // Two that only read are nobody's loss.
  EXPECT_THAT(refusal({"generate", "--model", file, "--prompts", file}), HasSubstr("is empty"));
}

TEST_F(FileFlags, DevicesMayTakeMoreThanOneOutput) {
  EXPECT_THAT(refusal({"bench", "--report", "/dev/null", "--plot", "/dev/null", "--ops", "sing"}),
              HasSubstr("--ops does not know 'sing'"));
}

/// A flag that is new must be put among the outputs or here among the inputs, or it could name the
/// file of another.
TEST_F(FileFlags, AllAreKnown) {
  std::istringstream manual(test::run_command({"manual"}).output);
  const std::regex pattern(R"(.*\\fB(\S+)\\fR \\fIFILE.*)");
  std::set<std::string> flags;
  for (std::string line; std::getline(manual, line);) {
    std::smatch found;
    if (!std::regex_match(line, found, pattern)) continue;
    flags.insert(std::regex_replace(found[1].str(), std::regex(R"(\\)"), ""));
  }
  const std::set<std::string> inputs{"--config", "--model", "--path-table", "--prompts", "file"};
  const std::set<std::string> outputs{"--health-file", "--output", "--plot", "--report", "--trace"};
  std::set<std::string> known = inputs;
  known.insert(outputs.begin(), outputs.end());
  EXPECT_EQ(flags, known);
}

}  // namespace
}  // namespace cohort
