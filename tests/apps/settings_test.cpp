// Flags from the environment and from a file, as commands take them.

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "run_command.hpp"

namespace cohort {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

/// Has a value as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

class SettingsOfCommands : public testing::Test {
 protected:
  ~SettingsOfCommands() override { ::unlink(file_.c_str()); }

  const std::string& write(const std::string& text) {
    std::ofstream(file_, std::ios::binary) << text;
    return file_;
  }

  nlohmann::json sizes(const std::vector<std::string>& flags) {
    std::vector<std::string> words{"groups", "--json"};
    words.insert(words.end(), flags.begin(), flags.end());
    const auto outcome = test::run_command(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output << outcome.errors;
    if (outcome.exit_code != 0) return {};
    return nlohmann::json::parse(outcome.output).at("sizes");
  }

  std::string refusal(const std::vector<std::string>& words) {
    const auto outcome = test::run_command(words);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    EXPECT_EQ(outcome.output, "");
    std::string errors = outcome.errors;
    for (std::size_t at; (at = errors.find(file_)) != std::string::npos;) {
      errors.replace(at, file_.size(), "FILE");
    }
    return errors;
  }

  std::string file_ =
      testing::TempDir() + "cohort-settings-" + std::to_string(::getpid()) + ".toml";
};

TEST_F(SettingsOfCommands, FlagComesBeforeEnvironmentBeforeFile) {
  write("tp = 8\nattn-dp = 2\nep = 2\n[groups]\nep = 4\n");
  EXPECT_EQ(sizes({"--config", file_}).at("tp"), 8);
  EXPECT_EQ(sizes({"--config", file_}).at("ep"), 4) << "a command's own table comes first";
  const Variable tp("COHORT_TP", "4");
  EXPECT_EQ(sizes({"--config", file_}).at("tp"), 4);
  EXPECT_EQ(sizes({"--config", file_}).at("attn_dp"), 2);
  EXPECT_EQ(sizes({"--config", file_, "--tp", "16"}).at("tp"), 16);
  EXPECT_EQ(sizes({"--tp-size", "2"}).at("tp"), 2) << "another spelling is the same flag";
  const Variable config("COHORT_CONFIG", file_);
  EXPECT_EQ(sizes({}).at("ep"), 4);
}

TEST_F(SettingsOfCommands, SpellingsOfOtherEnginesAreKeysToo) {
  write("tensor-parallel-size = 8\ndp-size = 2\nenable-dp-attention = true\n");
  EXPECT_EQ(sizes({"--config", file_}).at("attn_dp"), 2);
  const Variable attention("COHORT_ENABLE_DP_ATTENTION", "no");
  EXPECT_THAT(refusal({"groups", "--config", file_}),
              HasSubstr("--dp-size is from FILE:2, --enable-dp-attention is from "
                        "COHORT_ENABLE_DP_ATTENTION)\n"));
}

TEST_F(SettingsOfCommands, AFlagComesBeforeItsOppositeAndBeforeOtherWordsForIt) {
  write("attn-dp = 2\n");
  EXPECT_EQ(sizes({"--config", file_, "--tp", "8", "--dp-size", "4", "--enable-dp-attention"})
                .at("attn_dp"),
            4);
  write("tp = 8\ndp-size = 4\nenable-dp-attention = true\n");
  EXPECT_EQ(sizes({"--config", file_, "--attn-dp", "2"}).at("attn_dp"), 2);
  const Variable quiet("COHORT_QUIET", "1");
  EXPECT_THAT(refusal({"generate", "--verbose", "--model", "no-such-file"}),
              HasSubstr("no-such-file"));
}

/// What `generate` refuses before it opens a model, or that there is none.
TEST_F(SettingsOfCommands, TheHigherOfTwoOppositesCounts) {
  const std::string none = "no-such-file";
  const std::vector<std::string> words{"generate", "--config", file_, "--model", none};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), words.begin(), words.end());
    return refusal(more);
  };
  write("quiet = true\n");
  {
    const Variable verbose("COHORT_VERBOSE", "1");
    EXPECT_THAT(with({}), HasSubstr(none));
    const Variable quiet("COHORT_QUIET", "1");
    EXPECT_THAT(with({}), HasSubstr("--quiet excludes --verbose")) << "equal standing";
    EXPECT_THAT(with({"-q"}), HasSubstr(none));
  }
  write("quiet = true\n[generate]\nverbose = true\n");
  EXPECT_THAT(with({}), HasSubstr(none)) << "a command's own table comes first";
  write("symmetric = 'off'\nranks = 2\n");
  EXPECT_THAT(with({"--enable-symm-mem", "--tp", "4"}), HasSubstr(none));
  EXPECT_THAT(with({"--tp", "4", "--ranks", "2"}), HasSubstr("--ranks 2 contradicts --tp 4"));
  write("tp = 8\n");
  EXPECT_THAT(with({"--ranks", "2"}), HasSubstr(none));
}

TEST_F(SettingsOfCommands, APastedCommandStandsWhereFromIsGiven) {
  const std::string command = "sglang serve --tp 4";
  const auto from = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--from", command, "--config", file_});
    return sizes(more);
  };
  write("tp = 8\nattn-dp = 2\n");
  EXPECT_EQ(from({}).at("tp"), 4);
  EXPECT_EQ(from({}).at("attn_dp"), 1) << "what the command does not name is 1";
  EXPECT_EQ(from({"--tp", "2"}).at("tp"), 2);
  const Variable tp("COHORT_TP", "16");
  EXPECT_EQ(from({}).at("tp"), 4);
  const Variable variable("COHORT_FROM", "sglang serve --tp 32 --attn-cp-size 2");
  EXPECT_EQ(sizes({"--config", file_}).at("tp"), 16) << "both are variables";
  EXPECT_EQ(sizes({"--config", file_}).at("attn_cp"), 2);
  EXPECT_EQ(sizes({"--config", file_}).at("attn_dp"), 1);
  EXPECT_EQ(sizes({"--config", file_, "--tp", "2"}).at("tp"), 2);
  const auto text = test::run_command({"groups", "--tp", "2", "--from", command});
  EXPECT_THAT(text.output, HasSubstr("note      --tp 2 is given besides and counts, not --tp 4\n"));
}

TEST_F(SettingsOfCommands, AnEmptyVariableSaysNothing) {
  const Variable tp("COHORT_TP", "");
  EXPECT_EQ(sizes({}).at("tp"), 1);
}

TEST_F(SettingsOfCommands, UnknownKeysNameLineAndNearest) {
  write("tp = 2\n\nattn-dq = 2\n");
  EXPECT_EQ(refusal({"groups", "--config", file_}),
            "cohort: error: FILE:3: there is no flag 'attn-dq'; did you mean 'attn-dp'?\n");
  write("[generate]\nmax-token = 3\n");
  EXPECT_EQ(refusal({"groups", "--config", file_}),
            "cohort: error: FILE:2: there is no flag 'max-token' of 'cohort generate'; did you "
            "mean 'max-tokens'?\n")
      << "also of a command that is not run";
  write("[genrate]\n");
  EXPECT_EQ(refusal({"groups", "--config", file_}),
            "cohort: error: FILE:1: there is no command 'genrate'; did you mean 'generate'?\n");
  for (const char* key : {"config = 'x'", "help = true", "[run]\nprogram = 'x'"}) {
    write(key);
    EXPECT_THAT(refusal({"groups", "--config", file_}), HasSubstr("there is no flag"));
  }
}

TEST_F(SettingsOfCommands, WrongValuesNameWhereTheyAreFrom) {
  write("\ntp = 'many'\n");
  EXPECT_EQ(refusal({"groups", "--config", file_}),
            "cohort: error: --tp: 'many' is not a whole number from 1 to 65536 (--tp is from "
            "FILE:2)\n");
  write("tp = 8\nattn-dp = 3\n");
  EXPECT_THAT(refusal({"groups", "--config", file_}), EndsWith("FILE:2)\n"));
  write("tp = true");
  EXPECT_EQ(refusal({"groups", "--config", file_}),
            "cohort: error: FILE:1: --tp takes a value, not true or false\n");
  write("tp = [2, 4]");
  EXPECT_EQ(refusal({"groups", "--config", file_}),
            "cohort: error: FILE:1: --tp takes one value, not a list\n");
  write("enable-dp-attention = 1");
  EXPECT_EQ(refusal({"groups", "--config", file_}),
            "cohort: error: FILE:1: --enable-dp-attention is true or false\n");
  write("tp = 2\ntp-size = 2");
  EXPECT_EQ(
      refusal({"groups", "--config", file_}),
      "cohort: error: FILE:2: tp-size and tp of line 1 are the same flag: give one of them\n");
}

TEST_F(SettingsOfCommands, WrongVariablesAreNamed) {
  {
    const Variable tp("COHORT_TP", "0");
    EXPECT_EQ(refusal({"groups"}),
              "cohort: error: --tp: '0' is not a whole number from 1 to 65536 (--tp is from "
              "COHORT_TP)\n");
    const Variable other("COHORT_TP_SIZE", "2");
    EXPECT_EQ(refusal({"groups"}),
              "cohort: error: COHORT_TP_SIZE=2 contradicts COHORT_TP=0: both say --tp\n");
  }
  const Variable json("COHORT_JSON", "maybe");
  EXPECT_EQ(refusal({"groups"}),
            "cohort: error: COHORT_JSON=maybe is neither true nor false: --json takes no value\n");
}

TEST_F(SettingsOfCommands, JsonFromTheEnvironmentHoldsForErrorsToo) {
  const Variable json("COHORT_JSON", "1");
  const auto outcome = test::run_command({"groups", "--tp", "3", "--attn-dp", "2"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.errors, "");
  EXPECT_EQ(nlohmann::json::parse(outcome.output).at("error").at("code"), "usage");
}

/// Whether the refusal of these words is a document.
bool is_document(const std::vector<std::string>& words) {
  const auto outcome = test::run_command(words);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_NE(outcome.output.empty(), outcome.errors.empty());
  if (outcome.output.empty()) return false;
  EXPECT_EQ(nlohmann::json::parse(outcome.output).at("error").at("code").is_string(), true);
  return true;
}

TEST_F(SettingsOfCommands, ErrorsOfTheFileAreDocumentsAsFarAsThatIsKnown) {
  const std::vector<std::string> words{"groups", "--config", file_};
  write("json = true\nattn-dq = 2\n");
  EXPECT_TRUE(is_document(words)) << "the file is one, and holds an unknown key";
  EXPECT_FALSE(is_document({"completion", "bash", "--config", file_})) << "it has no --json";
  write("[plan]\njson = true\n[groups]\ntp = true\n");
  EXPECT_FALSE(is_document(words)) << "of another command";
  write("[groups]\njson = true\ntp = true\n");
  EXPECT_TRUE(is_document(words));
  {
    const Variable json("COHORT_JSON", "0");
    EXPECT_FALSE(is_document(words)) << "the variable comes before the file";
  }
  write("json = true\ntp = [\n");
  EXPECT_FALSE(is_document(words)) << "what is no TOML says nothing";
  EXPECT_TRUE(is_document({"groups", "--json", "--config", file_}));
  const Variable json("COHORT_JSON", "1");
  EXPECT_TRUE(is_document(words));
  EXPECT_TRUE(is_document({"groups", "--config", "/nowhere"}));
  EXPECT_TRUE(is_document({"gruops"})) << "whoever sets the variable reads documents";
  EXPECT_FALSE(is_document({"completion", "tcsh"}));
}

TEST_F(SettingsOfCommands, TheGpuOfARankIsNotTheKindOfMemory) {
  const Variable device("COHORT_DEVICE", "3");
  EXPECT_THAT(refusal({"bench", "--ranks", "1"}), testing::Not(HasSubstr("--device")));
}

TEST_F(SettingsOfCommands, ListsBecomeWhatTheFlagTakes) {
  write("[bench]\nops = ['all_reduce', 'nothing']\n[faults]\nonly = ['dead-rank', 'x']\n");
  EXPECT_THAT(refusal({"bench", "--config", file_}),
              HasSubstr("--ops does not know 'nothing'; it takes "));
  EXPECT_THAT(refusal({"faults", "--config", file_}),
              HasSubstr("--only x: there is no such fault"));
}

TEST_F(SettingsOfCommands, AFileThatCannotBeReadIsNamed) {
  EXPECT_EQ(refusal({"groups", "--config", file_}),
            "cohort: error: --config FILE cannot be read: No such file or directory\n");
  EXPECT_EQ(refusal({"groups", "--config", "/"}),
            "cohort: error: --config / cannot be read: Is a directory\n");
  EXPECT_EQ(refusal({"groups", "--config", "a", "--config", "b"}),
            "cohort: error: --config is given more than once: a command takes one file\n");
  {
    const Variable config("COHORT_CONFIG", file_);
    EXPECT_EQ(refusal({"groups"}),
              "cohort: error: COHORT_CONFIG=FILE cannot be read: No such file or directory\n");
  }
  write(std::string(2 << 20, '#'));
  EXPECT_THAT(refusal({"groups", "--config", file_}), HasSubstr("longer than the 1.0 MiB"));
}

TEST_F(SettingsOfCommands, HelpNeedsNoFile) {
  EXPECT_EQ(test::run_command({"groups", "--config", "/nowhere", "--help"}).exit_code, 0);
}

}  // namespace
}  // namespace cohort
