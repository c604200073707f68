// The health file of real processes that are stopped and killed, as `cohort health` reads it.

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.hpp"
#include "support/subprocess.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::Finished;
using test::patience;
using test::Subprocess;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kCommand = COHORT_BUILD_DIR "/cohort";
const std::string kProgram = COHORT_BUILD_DIR "/rank_program";
constexpr const char* kMark = "COHORT_TEST_MARK";

class HealthProcess : public testing::Test {
 protected:
  void SetUp() override {
    mark_ =
        std::to_string(::getpid()) + "-" + std::to_string(Clock::now().time_since_epoch().count());
    folder_ = std::filesystem::temp_directory_path() / ("cohort-test-" + mark_);
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override {
    EXPECT_TRUE(becomes_true([&] { return test::processes_with_variable(kMark, mark_).empty(); }))
        << "a process is left";
    for (const pid_t pid : test::processes_with_variable(kMark, mark_)) ::kill(pid, SIGKILL);
    std::filesystem::remove_all(folder_);
  }

  template <typename Condition>
  static bool becomes_true(const Condition& condition) {
    const auto deadline = Clock::now() + patience(20s);
    while (!condition()) {
      if (Clock::now() >= deadline) return false;
      std::this_thread::sleep_for(50ms);
    }
    return true;
  }

  std::string file() const { return (folder_ / "health.json").string(); }

  std::unique_ptr<Subprocess> start(int rank_count,
                                    const std::vector<std::string>& scenario) const {
    std::vector<std::string> arguments{kCommand,        "run",  "-n", std::to_string(rank_count),
                                       "--health-file", file(), "--", kProgram};
    arguments.insert(arguments.end(), scenario.begin(), scenario.end());
    const Subprocess::Variables variables{{kMark, mark_}, {"ASAN_OPTIONS", "detect_leaks=0"}};
    return std::make_unique<Subprocess>(arguments, variables);
  }

  Finished health(std::vector<std::string> flags = {}) const {
    flags.insert(flags.begin(), {kCommand, "health", file()});
    return Subprocess(flags).wait(patience(30s));
  }

  /// Looks until the exit code and a part of the text are as wanted.
  testing::AssertionResult comes_to_say(int exit_code, const std::string& text,
                                        const std::vector<std::string>& flags = {}) const {
    Finished last;
    const bool said = becomes_true([&] {
      last = health(flags);
      return last.exit_code == exit_code && last.output.find(text) != std::string::npos;
    });
    if (said) return testing::AssertionSuccess();
    return testing::AssertionFailure()
           << "exit code " << last.exit_code << ": " << last.output << last.errors;
  }

  pid_t rank_process(int rank) const {
    const auto of_test = test::processes_with_variable(kMark, mark_);
    for (const pid_t pid : test::processes_with_variable("COHORT_RANK", std::to_string(rank))) {
      if (std::ranges::find(of_test, pid) != of_test.end()) return pid;
    }
    ADD_FAILURE() << "no process of rank " << rank;
    return 0;
  }

  std::string mark_;
  std::filesystem::path folder_;
};

TEST_F(HealthProcess, IsToldByAnotherRankWhileTheFirstIsStopped) {
  const auto job = start(3, {"linger"});
  ASSERT_TRUE(job->wait_for_output("ready", patience(30s)));
  ASSERT_TRUE(comes_to_say(0, "healthy: 3 ranks"));
  const pid_t first = rank_process(0);
  ASSERT_NE(first, 0);
  ASSERT_EQ(::kill(first, SIGSTOP), 0);
  EXPECT_TRUE(
      comes_to_say(1, "rank 0  joined; its process " + std::to_string(first) + " is stopped\n"));
  ASSERT_EQ(::kill(first, SIGCONT), 0);
  EXPECT_TRUE(comes_to_say(0, "rank 0  joined\n"));
  job->signal(SIGTERM);
  EXPECT_EQ(job->wait(patience(30s)).exit_code, 143);
}

TEST_F(HealthProcess, IsStaleOnceAllWhoCouldWriteAreKilled) {
  const auto job = start(2, {"linger"});
  ASSERT_TRUE(job->wait_for_output("ready", patience(30s)));
  ASSERT_TRUE(comes_to_say(0, "healthy: 2 ranks"));
  job->signal(SIGKILL);  // its ranks die with it
  EXPECT_EQ(job->wait(patience(30s)).signal, SIGKILL);
  EXPECT_TRUE(comes_to_say(1, "stale: not written for ", {"--stale", "2"}));
  EXPECT_EQ(health({"--watch", "--stale", "2"}).exit_code, 1);
}

TEST_F(HealthProcess, SaysWhichRankDied) {
  const Finished job = start(3, {"kill_in_wait", "1"})->wait(patience(60s));
  EXPECT_EQ(job.exit_code, 1);
  const Finished told = health();
  EXPECT_EQ(told.exit_code, 1);
  EXPECT_THAT(told.output, StartsWith("failed: 3 ranks"));
  EXPECT_THAT(told.output, HasSubstr("fault: peer_failed: rank 1 died"));
  EXPECT_THAT(told.output, HasSubstr("rank 1  dead\n"));
}

TEST_F(HealthProcess, EndsWithTheJob) {
  EXPECT_EQ(start(3, {"gather"})->wait(patience(60s)).exit_code, 0);
  const Finished told = health({"--watch"});
  EXPECT_EQ(told.exit_code, 0);
  EXPECT_EQ(told.output,
            "ended: 3 ranks, generation 0\nrank 0  left\nrank 1  left\nrank 2  left\n");
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    EXPECT_EQ(entry.path().filename(), "health.json");
    ++files;
  }
  EXPECT_EQ(files, 1U);
}

}  // namespace
}  // namespace cohort
