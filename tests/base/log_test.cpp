#include "base/log.hpp"

#include <gtest/gtest.h>

namespace cohort {
namespace {

TEST(Log, WritesOneLineWithLevelAndRank) {
  ::testing::internal::CaptureStderr();
  log(LogLevel::error, "no peer");
  set_log_rank(WorldRank{3});
  log(LogLevel::error, "late peer");
  set_log_rank(std::nullopt);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "cohort: error: no peer\ncohort: rank 3: error: late peer\n");
}

TEST(Log, LevelsBelowTheChosenOneAreSilent) {
  if (log_level() == LogLevel::debug) GTEST_SKIP() << "COHORT_LOG=debug writes everything";
  ::testing::internal::CaptureStderr();
  log(LogLevel::debug, "detail");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace cohort
