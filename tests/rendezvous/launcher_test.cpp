#include "rendezvous/launcher.hpp"

#include <fcntl.h>

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cohort {
namespace {

using namespace std::chrono_literals;

LaunchOptions shell(std::uint32_t rank_count, const std::string& script) {
  LaunchOptions options;
  options.rank_count = rank_count;
  options.arguments = {"sh", "-c", script};
  return options;
}

TEST(Launcher, EveryRankKnowsWhoItIs) {
  const LaunchResult result = launch(shell(3, R"(test "$COHORT_WORLD_SIZE" = 3 &&
    test -S /proc/self/fd/$COHORT_BOOTSTRAP_FD && exit $((10 + COHORT_RANK)))"));
  ASSERT_EQ(result.ranks.size(), 3u);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(result.ranks[rank].exit_code, 10 + static_cast<int>(rank));
  }
}

TEST(Launcher, VariablesOfTheOptionsReachTheRanks) {
  LaunchOptions options = shell(2, R"(test "$GREETING" = "good morning" && test -n "$PATH")");
  options.environment = {{"GREETING", "good morning"}};
  EXPECT_EQ(launch(options).exit_code, 0);
}

TEST(Launcher, RanksGetTheirShareOfTheCpusUnlessToldOtherwise) {
  EXPECT_EQ(launch(shell(64, R"(test "$OMP_NUM_THREADS" = 1)")).exit_code, 0);
  LaunchOptions options = shell(2, R"(test "$OMP_NUM_THREADS" = 7)");
  options.environment = {{"OMP_NUM_THREADS", "7"}};
  EXPECT_EQ(launch(options).exit_code, 0);
}

TEST(Launcher, OnlyRankZeroReadsStandardInput) {
  EXPECT_EQ(launch(shell(3, R"(test "$COHORT_RANK" = 0 || ! read -r line)")).exit_code, 0);
}

/// " 0 1 2 ": what this process hands to every child, e.g. because its own parent left it open.
std::string inheritable_descriptors() {
  std::string numbers = " ";
  for (int fd = 0; fd < 1024; ++fd) {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) numbers += std::to_string(fd) + " ";
  }
  return numbers;
}

TEST(Launcher, NoDescriptorOfTheLauncherReachesARankButItsOwnSocket) {
  LaunchOptions options = shell(4, R"(for fd in /proc/$$/fd/*; do
    test -e "$fd" || continue # the shell's own, of the listing
    number=${fd##*/}
    test "$number" = "$COHORT_BOOTSTRAP_FD" && continue
    case "$ALLOWED" in *" $number "*) ;; *) exit 9 ;; esac
  done)");
  options.environment = {{"ALLOWED", inheritable_descriptors()}};
  const LaunchResult result = launch(options);
  EXPECT_EQ(result.exit_code, 0);
}

TEST(Launcher, AProgramThatIsNotThereIsOneError) {
  LaunchOptions options = shell(2, "");
  options.program = "./no such program";
  const LaunchResult result = launch(options);
  EXPECT_EQ(result.exit_code, 2);
  ASSERT_TRUE(result.fault);
  EXPECT_EQ(result.fault->code(), ErrorCode::usage);
  EXPECT_STREQ(result.fault->what(), "cannot start './no such program': No such file or directory");
}

TEST(Launcher, RefusesImpossibleRankCountsAndNoProgram) {
  EXPECT_THROW(launch(shell(0, "true")), Error);
  EXPECT_THROW(launch(shell(5000, "true")), Error);
  EXPECT_THROW(launch(LaunchOptions{}), Error);
}

TEST(Launcher, ARankThatFailsEndsTheOthersAfterTheGrace) {
  LaunchOptions options = shell(3, R"(test "$COHORT_RANK" = 1 && exit 4; exec sleep 1000)");
  options.grace = 50ms;
  const LaunchResult result = launch(options);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_STREQ(result.fault->what(), "rank 1 ended with exit code 4");
  for (const std::size_t other : {0u, 2u}) {
    EXPECT_EQ(result.ranks[other].signal, SIGTERM);
    EXPECT_TRUE(result.ranks[other].ended_by_launcher);
  }
}

TEST(Launcher, ARankThatIgnoresTheRequestToEndIsKilled) {
  LaunchOptions options = shell(2, R"(test "$COHORT_RANK" = 1 && exit 4; trap '' TERM
    while :; do sleep 1; done)");
  options.grace = 50ms;
  options.kill_after = 50ms;
  EXPECT_EQ(launch(options).ranks[0].signal, SIGKILL);
}

TEST(Launcher, AStoppedRankIsKilledAsSoonAsNoOtherRuns) {
  LaunchOptions options = shell(3, R"(test "$COHORT_RANK" = 0 && exit 4
    test "$COHORT_RANK" = 1 && exit 0
    kill -STOP $$)");
  options.grace = 1h;
  EXPECT_EQ(launch(options).ranks[2].signal, SIGKILL);
}

TEST(Launcher, SomethingElseOnTheSocketDoesNoHarm) {
  const LaunchResult result = launch(shell(2, R"(echo 'GET / HTTP/1.1' >&$COHORT_BOOTSTRAP_FD)"));
  EXPECT_EQ(result.exit_code, 0);
}

}  // namespace
}  // namespace cohort
