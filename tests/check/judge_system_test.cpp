#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/facts.hpp"
#include "check/judge.hpp"

namespace cohort::check {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(KernelRow, HoldsTheReleaseAgainstWhatRanksUse) {
  const auto status_of = [](const char* release) {
    HostFacts facts = good_facts();
    facts.kernel_release = release;
    const Row row = kernel_row(facts);
    EXPECT_EQ(row.name, "kernel");
    EXPECT_THAT(row.meaning, Not(IsEmpty()));
    EXPECT_EQ(row.remedy.empty(), row.status == Status::ok);
    return row.status;
  };
  EXPECT_EQ(status_of("6.18.44"), Status::ok);
  EXPECT_EQ(status_of("5.3.0"), Status::ok);
  EXPECT_EQ(status_of("5.2.21"), Status::warning);
  EXPECT_EQ(status_of("4.18.0-553.el8.x86_64"), Status::warning);
  EXPECT_EQ(status_of("3.17.0"), Status::warning);
  EXPECT_EQ(status_of("3.10.0-1160.el7.x86_64"), Status::problem);
  EXPECT_EQ(status_of("2.6.32"), Status::problem);
  EXPECT_EQ(status_of(""), Status::warning);
}

TEST(ClockRow, WarnsOfTheTimeOfAReadingNotOfAName) {
  HostFacts facts = good_facts();
  EXPECT_EQ(clock_row(facts).status, Status::ok);
  EXPECT_EQ(clock_row(facts).value, "tsc, 24 ns a reading, steady TSC");
  facts.clock_source = "hpet";
  facts.has_steady_tsc = false;
  facts.clock_read_ns = 1200;
  const Row slow = clock_row(facts);
  EXPECT_EQ(slow.status, Status::warning);
  EXPECT_EQ(slow.value, "hpet, 1200 ns a reading, no steady TSC");
  EXPECT_THAT(slow.remedy, HasSubstr("current_clocksource"));
  facts.clock_source = "";
  facts.has_steady_tsc.reset();
  facts.clock_read_ns = 30;
  EXPECT_EQ(clock_row(facts).value, "unknown source, 30 ns a reading");
  EXPECT_EQ(clock_row(facts).status, Status::ok);
}

TEST(MemfdRow, ARefusalMakesRanksImpossible) {
  HostFacts facts = good_facts();
  EXPECT_EQ(memfd_row(facts).status, Status::ok);
  facts.memfd.refused_errno = EPERM;
  const Row row = memfd_row(facts);
  EXPECT_EQ(row.status, Status::problem);
  EXPECT_EQ(row.value, "refused: Operation not permitted");
  EXPECT_THAT(row.remedy, HasSubstr("seccomp"));
}

TEST(PidfdRow, ARefusalOnlyTakesHelpAway) {
  HostFacts facts = good_facts();
  EXPECT_EQ(pidfd_row(facts).status, Status::ok);
  facts.pidfd.refused_errno = ENOSYS;
  const Row row = pidfd_row(facts);
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_THAT(row.meaning, HasSubstr("connections"));
  EXPECT_THAT(row.remedy, HasSubstr("5.3"));
}

TEST(AttemptRows, WithoutDescriptorsNothingIsKnown) {
  HostFacts facts = good_facts();
  for (const int number : {EMFILE, ENFILE}) {
    facts.memfd.refused_errno = facts.pidfd.refused_errno = number;
    for (const Row& row : {memfd_row(facts), pidfd_row(facts)}) {
      EXPECT_EQ(row.status, Status::warning);
      EXPECT_EQ(row.remedy, "See open_files.");
    }
  }
}

TEST(SandboxRow, SaysWhatIsThereAndThatRanksDoNotMind) {
  HostFacts facts = good_facts();
  EXPECT_EQ(sandbox_row(facts).value, "no seccomp, no Yama");
  facts.seccomp_mode = 2;
  facts.yama_scope = 3;
  EXPECT_EQ(sandbox_row(facts).value, "seccomp filters calls, Yama ptrace scope 3");
  facts.seccomp_mode.reset();
  EXPECT_EQ(sandbox_row(facts).value, "seccomp unknown, Yama ptrace scope 3");
  EXPECT_EQ(sandbox_row(facts).status, Status::ok);
}

}  // namespace
}  // namespace cohort::check
