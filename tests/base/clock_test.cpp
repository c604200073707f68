#include "base/clock.hpp"

#include <cstdlib>
#include <thread>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

/// Sets the variable for one test and puts the old value back.
class DeadlineScale : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const char* value = std::getenv(kVariable)) before_ = value;
  }
  void TearDown() override { set(before_.empty() ? nullptr : before_.c_str()); }

  static void set(const char* value) {
    ASSERT_EQ(value == nullptr ? unsetenv(kVariable) : setenv(kVariable, value, 1), 0);
  }

  static constexpr const char* kVariable = "COHORT_DEADLINE_SCALE";

 private:
  std::string before_;
};

TEST_F(DeadlineScale, IsOneWhereNothingIsSet) {
  set(nullptr);
  EXPECT_EQ(deadline_scale_from_environment(), 1.0);
}

TEST_F(DeadlineScale, IsReadFromTheEnvironment) {
  set("2.5");
  EXPECT_EQ(deadline_scale_from_environment(), 2.5);
}

TEST_F(DeadlineScale, RefusesWhatIsNoScale) {
  for (const char* text : {"", "fast", "2x", " 2", "-1", "0", "nan", "inf", "1e9"}) {
    set(text);
    try {
      deadline_scale_from_environment();
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_NE(std::string(error.what()).find(kVariable), std::string::npos);
    }
  }
}

TEST(Stopwatch, RunsForwardAndRestarts) {
  Stopwatch stopwatch;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GE(stopwatch.seconds(), 0.02);
  Stopwatch second = stopwatch;
  second.restart();
  EXPECT_LT(second.seconds(), stopwatch.seconds());
}

}  // namespace
}  // namespace cohort
