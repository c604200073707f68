// A rank that is killed, at any phase of a run: the others name it and end, and nothing is left.

#include <signal.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/generate_job.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::GenerateJob;
using testing::ContainsRegex;

/// When a rank is killed: once it has said so in its log.
struct Moment {
  const char* phase;
  std::uint32_t rank;
};

void PrintTo(const Moment& moment, std::ostream* out) {
  *out << "rank " << moment.rank << " in " << moment.phase;
}

class KilledRank : public GenerateJob, public testing::WithParamInterface<Moment> {
 protected:
  void SetUp() override {
    GenerateJob::SetUp();
    if (test::real_model_path().empty()) GTEST_SKIP() << "COHORT_MODEL names no model file";
  }

  std::string long_prompt() const {
    const auto prompts = test::read_golden_texts("smollm2_greedy.json").prompts;
    for (const auto& prompt : prompts) {
      if (prompt.name == "long") return write_prompts({prompt, prompts.front()});
    }
    return "";
  }
};

TEST_P(KilledRank, IsNamedInOneLine) {
  const auto [phase, rank] = GetParam();
  const auto job =
      start({"generate", "--model", test::real_model_path(), "--prompts", long_prompt(), "--tp",
             "4", "--attn-dp", "2", "--attn-cp", "2", "--max-tokens", "2000", "--ignore-eos",
             "--max-step-tokens", "128", "--json"},
            /*one_stream=*/true, {{"COHORT_LOG", "info"}});
  const pid_t victim = pid_of_rank(rank);
  const std::string line = "rank " + std::to_string(rank) + ": info: " + phase + "\n";
  ASSERT_TRUE(job->wait_for_output(line, test::patience(60s))) << line;
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  const test::Finished finished = job->wait(test::patience(15s));
  EXPECT_EQ(finished.exit_code, 1) << finished.output;
  std::string errors;
  std::istringstream lines(finished.output);
  for (std::string each; std::getline(lines, each);) {
    const bool is_log =
        each.find(": info: ") != std::string::npos || each.find(": warning: ") != std::string::npos;
    if (!is_log) errors += each + "\n";
  }
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
  EXPECT_THAT(errors, ContainsRegex("\"rank " + std::to_string(rank) +
                                    " died of signal 9 .Killed.; rank [0-9]+ was "
                                    "(waiting for rank [0-9]+ in|loading the model)"));
}

std::string name_of(const testing::TestParamInfo<Moment>& moment) {
  std::string name = moment.param.phase;
  name = name.substr(0, name.find(' '));
  return name + "OfRank" + std::to_string(moment.param.rank);
}

INSTANTIATE_TEST_SUITE_P(Phases, KilledRank,
                         testing::Values(Moment{"loading the model", 0},
                                         Moment{"loading the model", 3}, Moment{"prefill", 0},
                                         Moment{"prefill", 1}, Moment{"prefill", 2},
                                         Moment{"decode", 0}, Moment{"decode", 2},
                                         Moment{"decode", 3}),
                         name_of);

}  // namespace
}  // namespace cohort
