#include "base/assert.hpp"

#include <gtest/gtest.h>

namespace {

TEST(AssertDeathTest, EndsTheProcessAndSaysWhatAndWhere) {
  EXPECT_DEATH(COHORT_ASSERT(1 > 2, "order is lost"),
               "assertion failed: order is lost \\(1 > 2\\) at .*assert_test.cpp:");
}

TEST(Assert, PassesWhereTheConditionHolds) {
  int evaluations = 0;
  COHORT_ASSERT(++evaluations == 1, "counted once");
  EXPECT_EQ(evaluations, 1);
}

}  // namespace
