#include "check/round_trip.hpp"

#include <memory>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

namespace cohort::check {
namespace {

class RoundTrips : public testing::TestWithParam<TripWait> {};

TEST_P(RoundTrips, AreTimedBetweenTwoThreads) {
  const auto words = std::make_unique<TripWords>();
  const auto check = [] {};
  std::thread answering([&] { answer_round_trips(*words, GetParam(), check); });
  const TripTimes times =
      time_round_trips(*words, GetParam(), {50, std::chrono::seconds(5)}, check);
  answering.join();
  EXPECT_GT(times.best_ns, 0);
  EXPECT_GE(times.median_ns, times.best_ns);
  EXPECT_EQ(words->answer, 50u);
}

TEST_P(RoundTrips, EndAtTheirLimitOfTime) {
  const auto words = std::make_unique<TripWords>();
  const auto check = [] {};
  std::thread answering([&] { answer_round_trips(*words, GetParam(), check); });
  time_round_trips(*words, GetParam(), {1'000'000'000, std::chrono::milliseconds(1)}, check);
  answering.join();
  EXPECT_GE(words->answer, 1u);
}

TEST_P(RoundTrips, AWaitEndsWithWhatItsCheckThrows) {
  TripWords words;
  int looks = 0;
  const auto check = [&] {
    if (++looks == 2) throw std::runtime_error("the other rank died");
  };
  EXPECT_THROW(time_round_trips(words, GetParam(), {}, check), std::runtime_error);
  words.call = 0;
  looks = 0;
  EXPECT_THROW(answer_round_trips(words, GetParam(), check), std::runtime_error);
}

INSTANTIATE_TEST_SUITE_P(Waits, RoundTrips, testing::Values(TripWait::spin, TripWait::sleep),
                         [](const auto& each) {
                           return each.param == TripWait::spin ? "Spin" : "Sleep";
                         });

}  // namespace
}  // namespace cohort::check
