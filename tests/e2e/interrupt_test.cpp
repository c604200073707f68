// Ctrl-C and SIGTERM: all ranks end, nothing is left (the fixture looks), and one line says so.

#include <signal.h>

#include <array>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/generate_job.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::Finished;
using test::GenerateJob;
using testing::EndsWith;

using InterruptedJob = GenerateJob;

constexpr std::array kEnds{std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}};

TEST_F(InterruptedJob, GenerateEndsAllRanks) {
  for (const auto& [number, exit_code] : kEnds) {
    const auto job = start({"generate", "--model", test::tiny_model_path(), "--prompt", "Water",
                            "--tp", "4", "--attn-dp", "2", "--max-tokens", "100"},
                           /*one_stream=*/true);
    // The others wait for it, so the job cannot have ended before the signal comes.
    ASSERT_EQ(::kill(pid_of_rank(1), SIGSTOP), 0);
    job->signal(number);
    const Finished finished = job->wait(test::patience(30s));
    EXPECT_EQ(finished.exit_code, exit_code) << finished.output;
    EXPECT_THAT(finished.output, EndsWith("cohort: interrupted; all ranks have ended\n"));
  }
}

/// Three ranks in the middle of their work, none of them stopped.
TEST_F(InterruptedJob, RealModelEndsInTheMiddle) {
  if (test::real_model_path().empty()) GTEST_SKIP() << "COHORT_MODEL names no model file";
  for (const auto& [number, exit_code] : kEnds) {
    const auto job =
        start({"generate", "--model", test::real_model_path(), "--prompt", "Once upon a time",
               "--tp", "3", "--max-tokens", "2000", "--ignore-eos"},
              /*one_stream=*/true, {{"COHORT_LOG", "info"}});
    ASSERT_TRUE(job->wait_for_output("rank 1: info: prefill\n", test::patience(60s)));
    job->signal(number);
    const Finished finished = job->wait(test::patience(30s));
    EXPECT_EQ(finished.exit_code, exit_code) << finished.output;
    EXPECT_THAT(finished.output, EndsWith("cohort: interrupted; all ranks have ended\n"));
  }
}

TEST_F(InterruptedJob, BenchEndsAllRanks) {
  for (const auto& [number, exit_code] : kEnds) {
    const auto job = start({"bench", "--verbose", "--ranks", "3", "--peers", "none", "--ops",
                            "all_reduce", "--rounds", "1000", "--seconds", "60"},
                           /*one_stream=*/true);
    ASSERT_TRUE(job->wait_for_output("bench: all_reduce 8 B on 3 ranks", test::patience(60s)));
    job->signal(number);
    const Finished finished = job->wait(test::patience(30s));
    EXPECT_EQ(finished.exit_code, exit_code) << finished.output;
    EXPECT_THAT(finished.output, EndsWith("cohort: interrupted; all ranks have ended\n"));
  }
}

/// The process that has started `pid`.
pid_t parent_of(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; status >> word;) {
    pid_t parent = 0;
    if (word == "PPid:" && status >> parent) return parent;
  }
  throw std::runtime_error("process " + std::to_string(pid) + " has no parent");
}

/// What starts the ranks heeds no signal but the one that nobody can refuse.
TEST_F(InterruptedJob, BenchEndsWhatIsStopped) {
  const auto job = start({"bench", "--verbose", "--ranks", "2", "--peers", "none", "--ops",
                          "all_reduce", "--rounds", "1000", "--seconds", "60"},
                         /*one_stream=*/true);
  ASSERT_TRUE(job->wait_for_output("bench: all_reduce 8 B on 2 ranks", test::patience(60s)));
  ASSERT_EQ(::kill(parent_of(pid_of_rank(1)), SIGSTOP), 0);
  job->signal(SIGINT);
  EXPECT_EQ(job->wait(test::patience(30s)).exit_code, 130);
}

TEST_F(InterruptedJob, BenchEndsWhileItsRanksStart) {
  const auto job =
      start({"bench", "--verbose", "--ranks", "3", "--peers", "none"}, /*one_stream=*/true);
  ASSERT_TRUE(job->wait_for_output("bench: starting 3 ranks", test::patience(60s)));
  job->signal(SIGINT);
  EXPECT_EQ(job->wait(test::patience(30s)).exit_code, 130);
}

}  // namespace
}  // namespace cohort
