// What a user of the launcher may rely on, seen from outside: `cohort run` and real processes that
// are killed and stopped.

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <thread>

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
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::StartsWith;

const std::string kCommand = COHORT_BUILD_DIR "/cohort";
const std::string kProgram = COHORT_BUILD_DIR "/rank_program";
constexpr const char* kMark = "COHORT_TEST_MARK";

/// Names of abstract sockets that cohort's ranks hold.
std::set<std::string> control_sockets() {
  std::set<std::string> names;
  std::ifstream table("/proc/net/unix");
  for (std::string line; std::getline(table, line);) {
    const std::size_t begin = line.find("@cohort-");
    if (begin != std::string::npos) names.insert(line.substr(begin));
  }
  return names;
}

/// A job in an empty directory of its own; at the end nothing of it may be left anywhere.
class LauncherProcess : public testing::Test {
 protected:
  void SetUp() override {
    mark_ =
        std::to_string(::getpid()) + "-" + std::to_string(Clock::now().time_since_epoch().count());
    directory_ = std::filesystem::temp_directory_path() / ("cohort-test-" + mark_);
    std::filesystem::create_directory(directory_);
  }

  void TearDown() override {
    EXPECT_TRUE(becomes_true([&] { return test::processes_with_variable(kMark, mark_).empty(); }))
        << "a process is left";
    for (const pid_t pid : test::processes_with_variable(kMark, mark_)) ::kill(pid, SIGKILL);
    EXPECT_TRUE(std::filesystem::is_empty(directory_)) << "a file is left";
    std::filesystem::remove_all(directory_);
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
      EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr("cohort")));
    }
  }

  template <typename Condition>
  static bool becomes_true(const Condition& condition) {
    const auto deadline = Clock::now() + patience(15s);
    while (!condition()) {
      if (Clock::now() >= deadline) return false;
      std::this_thread::sleep_for(10ms);
    }
    return true;
  }

  /// `cohort run -n COUNT -- rank_program SCENARIO...`
  std::unique_ptr<Subprocess> start(int rank_count, std::vector<std::string> scenario,
                                    std::vector<std::string> flags = {}) {
    std::vector<std::string> arguments{kCommand, "run", "-n", std::to_string(rank_count)};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    arguments.insert(arguments.end(), {"--", kProgram});
    arguments.insert(arguments.end(), scenario.begin(), scenario.end());
    // A leak check of a rank that ends in the middle of something only adds lines.
    const Subprocess::Variables variables{
        {kMark, mark_}, {"TMPDIR", directory_}, {"ASAN_OPTIONS", "detect_leaks=0"}};
    return std::make_unique<Subprocess>(arguments, variables, directory_);
  }

  Finished run(int rank_count, std::vector<std::string> scenario,
               std::vector<std::string> flags = {}) {
    return start(rank_count, std::move(scenario), std::move(flags))->wait(patience(60s));
  }

  std::string mark_;
  std::filesystem::path directory_;
};

TEST_F(LauncherProcess, RanksMeetAndEndWithZero) {
  for (const int count : {1, 2, 5, 8}) {
    const Finished finished = run(count, {"gather"});
    EXPECT_EQ(finished.exit_code, 0) << finished.errors;
    EXPECT_THAT(finished.errors, IsEmpty());
    for (int rank = 0; rank < count; ++rank) {
      std::string line = "rank " + std::to_string(rank) + " sees";
      for (int seen = 0; seen < count; ++seen) line += " " + std::to_string(seen);
      EXPECT_THAT(finished.output, HasSubstr(line + "\n"));
    }
  }
}

TEST_F(LauncherProcess, OnlyRankZeroPrintsIfAsked) {
  const Finished finished = run(3, {"gather"}, {"--only-rank-0-output"});
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(finished.output, "rank 0 sees 0 1 2\n");
}

TEST_F(LauncherProcess, RanksMayJoinAgainAfterTheyLeft) {
  const Finished finished = run(2, {"gather_twice"});
  EXPECT_EQ(finished.exit_code, 0) << finished.errors;
  EXPECT_EQ(std::count(finished.output.begin(), finished.output.end(), '\n'), 4);
}

TEST_F(LauncherProcess, TwoJobsAtOnceDoNotDisturbEachOther) {
  const auto one = start(3, {"gather"});
  const auto dying = start(3, {"kill_in_wait", "1"});
  const auto other = start(3, {"gather"});
  EXPECT_EQ(one->wait(patience(60s)).exit_code, 0);
  EXPECT_EQ(other->wait(patience(60s)).exit_code, 0);
  EXPECT_EQ(dying->wait(patience(60s)).exit_code, 1);
}

/// A scenario in which rank 1 of 3 is killed, and what the one line says besides.
struct Killing {
  std::string scenario;
  std::string others;
};

void PrintTo(const Killing& killing, std::ostream* out) {
  *out << killing.scenario;
}

class LauncherKilling : public LauncherProcess, public testing::WithParamInterface<Killing> {};

TEST_P(LauncherKilling, NamesTheDeadRankAndWhatAnotherWasAtInOneLine) {
  const Finished finished = run(3, {GetParam().scenario, "1"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.output, IsEmpty());
  EXPECT_THAT(finished.errors, MatchesRegex("cohort: error: rank 1 died of signal 9 .Killed." +
                                            GetParam().others + "\n"));
}

INSTANTIATE_TEST_SUITE_P(
    Moments, LauncherKilling,
    testing::Values(Killing{"kill_before_join", "; rank [02] was waiting for rank 1 in join"},
                    Killing{"kill_in_join", "; rank [02] was waiting for rank 1 in join"},
                    Killing{"kill_in_wait",
                            "; rank [02] was waiting for rank 1 in all_reduce on tp "
                            ".0, 1, 2., call 17"},
                    Killing{"kill_in_work", "; rank [02] was loading layer 3"}),
    [](const auto& entry) { return entry.param.scenario; });

TEST_F(LauncherProcess, ARankKilledAtAnyMomentIsNamedInTime) {
  std::random_device device;
  const auto seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int turn = 0; turn < 30; ++turn) {
    // Starting, joining and working take some 10 ms here; a slower machine is hit earlier on.
    const auto delay = std::chrono::microseconds(random() % 30'000);
    const auto job = start(4, {"work"}, {"--grace", "1000"});
    std::vector<pid_t> ranks;
    const auto find_ranks = [&] {
      ranks = test::processes_with_variable(kMark, mark_);
      std::erase(ranks, job->pid());
      return !ranks.empty();
    };
    ASSERT_TRUE(becomes_true(find_ranks));
    std::this_thread::sleep_for(delay);
    find_ranks();
    ::kill(ranks[random() % ranks.size()], SIGKILL);
    const Finished finished = job->wait(patience(60s));
    ASSERT_EQ(finished.exit_code, 1) << finished.errors;
    ASSERT_THAT(finished.errors,
                MatchesRegex("cohort: error: rank [0-3] died of signal 9 .Killed.; rank [0-3] was "
                             "(waiting for rank [0-3] in join|loading layer 3)\n"));
  }
}

TEST_F(LauncherProcess, AStoppedRankIsNamedByTheOthersAndEndedLast) {
  const Finished finished = run(3, {"stop", "1"});
  EXPECT_EQ(finished.exit_code, 1);
  const std::string waits =
      " .* s for rank 1 in all_reduce on tp .0, 1, 2., call 17; the process of rank 1 is stopped\n";
  // Each of the others may have logged the stall before its deadline, once.
  EXPECT_THAT(finished.errors,
              MatchesRegex("(.rank [02]. cohort: warning: rank [02] has waited" + waits +
                           "){1,2}cohort: error: rank [02] waited" + waits));
}

TEST_F(LauncherProcess, ARankThatDoesNotJoinInTimeIsNamed) {
  const Finished finished = run(3, {"late", "2"}, {"--grace", "0"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.errors, StartsWith("cohort: error: rank 2 did not join in time"));
}

TEST_F(LauncherProcess, ARanksErrorIsTheJobsError) {
  const Finished finished = run(3, {"fail", "2"});
  EXPECT_EQ(finished.exit_code, 2) << "corrupt input";
  EXPECT_EQ(finished.errors, "cohort: error: model.gguf is torn\n");
}

TEST_F(LauncherProcess, AnErrorIsOneJsonDocumentIfAsked) {
  const Finished finished = run(3, {"fail", "2"}, {"--json"});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_EQ(finished.output,
            R"({"error":{"code":"corrupt","message":"model.gguf is torn","rank":2,"phase":"load"}})"
            "\n");
}

TEST_F(LauncherProcess, ARankThatLeavesTooEarlyIsNamedWithItsExitCode) {
  const Finished finished = run(2, {"leave", "1", "0"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(finished.errors,
            "cohort: error: rank 1 ended with exit code 0; rank 0 was waiting for rank 1 in "
            "all_reduce on tp [0, 1, 2], call 17\n");
}

TEST_F(LauncherProcess, ExitCodesAreThoseOfTheFirstRankToFail) {
  EXPECT_EQ(run(2, {"exit_without_leaving", "1", "2"}).exit_code, 2);
  const Finished finished = run(2, {"exit_without_leaving", "0", "7"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.errors, StartsWith("cohort: error: rank 0 ended with exit code 7; rank 1 "));
}

TEST_F(LauncherProcess, SignalsEndAllRanks) {
  for (const auto& [number, exit_code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    for (const std::string scenario : {"linger", "linger_stubbornly", "linger_with_one_stopped"}) {
      const auto job = start(3, {scenario, "1"});
      ASSERT_TRUE(job->wait_for_output("ready", patience(30s)));
      job->signal(number);
      const Finished finished = job->wait(patience(30s));
      EXPECT_EQ(finished.exit_code, exit_code) << scenario;
      EXPECT_EQ(finished.errors, "cohort: interrupted; all ranks have ended\n");
    }
  }
}

TEST_F(LauncherProcess, RanksDieWithTheLauncher) {
  const auto job = start(3, {"linger_stubbornly"});
  ASSERT_TRUE(job->wait_for_output("ready", patience(30s)));
  EXPECT_EQ(test::processes_with_variable(kMark, mark_).size(), 4u);
  job->signal(SIGKILL);
  EXPECT_EQ(job->wait(patience(30s)).signal, SIGKILL);
}

TEST_F(LauncherProcess, NoControlSocketIsLeft) {
  const std::set<std::string> before = control_sockets();
  const auto job = start(3, {"linger"});
  ASSERT_TRUE(job->wait_for_output("ready", patience(30s)));
  std::set<std::string> during;
  for (const std::string& name : control_sockets()) {
    if (!before.contains(name)) during.insert(name);
  }
  EXPECT_FALSE(during.empty()) << "what this test looks for must be visible while it lasts";
  job->signal(SIGKILL);
  job->wait(patience(30s));
  // Other tests may run beside this one: what was new then has to go, theirs in their own time.
  EXPECT_TRUE(becomes_true([&] {
    const std::set<std::string> after = control_sockets();
    return std::none_of(during.begin(), during.end(),
                        [&](const std::string& name) { return after.contains(name); });
  }));
}

#if defined(COHORT_THREAD_SANITIZER)
TEST_F(LauncherProcess, TheThreadSanitizerSeesRacesBetweenRanksInArenas) {
  Subprocess program({kProgram, "race"}, {{kMark, mark_}, {"TSAN_OPTIONS", "exitcode=66"}});
  const Finished finished = program.wait(patience(60s));
  EXPECT_EQ(finished.exit_code, 66);
  EXPECT_THAT(finished.errors, HasSubstr("data race"));
}
#endif

}  // namespace
}  // namespace cohort
