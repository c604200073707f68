#include "progress.hpp"

#include <sstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cohort {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

constexpr Terminal kLive{.live = true, .colours = false};
constexpr const char* kErase = "\r\x1b[K";

TEST(ProgressText, SaysHowFarHowFastAndHowLong) {
  ProgressState state{"loading the model", "tensors", "", 0, 272, 0};
  EXPECT_EQ(progress_text(state, 80), "loading the model  0 %  0 of 272 tensors");
  state.done = 136;
  state.elapsed_s = 2;
  EXPECT_EQ(progress_text(state, 80),
            "loading the model  50 %  136 of 272 tensors  68/s  0:02 left");
  state.done = 272;
  EXPECT_EQ(progress_text(state, 80), "loading the model  100 %  272 of 272 tensors  136/s");
}

TEST(ProgressText, GuessesNothingInTheFirstMoment) {
  const ProgressState state{"bench", "points", "barrier", 1, 10, 0.1};
  EXPECT_EQ(progress_text(state, 80), "bench  10 %  1 of 10 points  barrier");
}

TEST(ProgressText, SaysLongTimesInMinutesAndHours) {
  ProgressState state{"w", "u", "", 1, 101, 1.5};
  EXPECT_THAT(progress_text(state, 80), EndsWith("  0.7/s  2:30 left"));
  state.total = 10'001;
  EXPECT_THAT(progress_text(state, 80), EndsWith("  4:10:00 left"));
  state.total = 1'000'000'000;
  EXPECT_THAT(progress_text(state, 80), EndsWith("  99:00:00 left"));
}

TEST(ProgressText, WithoutATotalCounts) {
  const ProgressState state{"measuring", "operations", "grids", 3, 0, 6};
  EXPECT_EQ(progress_text(state, 80), "measuring  3 operations  0.5/s  grids");
}

TEST(ProgressText, IsNeverWiderThanTheTerminal) {
  const ProgressState state{
      "loading the model", "tensors", std::string_view("a long detail"), 136, 272, 2};
  for (std::size_t columns = 20; columns < 90; ++columns) {
    const std::string text = progress_text(state, columns);
    EXPECT_LE(text.size(), columns);
    EXPECT_THAT(text, testing::StartsWith("loading the model"));
  }
}

TEST(Progress, WhereNobodyWatchesSaysNothing) {
  std::ostringstream errors;
  {
    Progress progress(errors, "bench", "points", {}, {});
    progress.expect(2);
    progress.begin("barrier");
    progress.advance();
    progress.end();
  }
  EXPECT_EQ(errors.str(), "");
}

TEST(Progress, OnATerminalIsOneLineThatIsGoneAtTheEnd) {
  std::ostringstream errors;
  {
    Progress progress(errors, "bench", "points", {}, kLive);
    progress.expect(200);
    for (int i = 0; i < 200; ++i) {
      progress.begin("barrier");
      progress.advance();
    }
  }
  EXPECT_THAT(errors.str(), testing::StartsWith(std::string(kErase) + "bench  0 %  0 of 200"));
  EXPECT_THAT(errors.str(), EndsWith(kErase));
  EXPECT_THAT(errors.str(), Not(HasSubstr("\n")));
  // Not for every step: a terminal is slow.
  EXPECT_LT(errors.str().size(), 2000U);
}

TEST(Progress, ShowsTheStateAgainAfterAWhile) {
  std::ostringstream errors;
  Progress progress(errors, "bench", "points", {}, kLive);
  progress.set(1, 4);
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  progress.set(2, 4);
  EXPECT_THAT(errors.str(), HasSubstr("25 %"));
  EXPECT_THAT(errors.str(), HasSubstr("50 %"));
}

TEST(Progress, ARemarkStaysAboveTheLine) {
  std::ostringstream errors;
  Progress progress(errors, "bench", "points", {}, kLive);
  progress.set(1, 4);
  progress.note("gloo: no program");
  EXPECT_THAT(errors.str(), HasSubstr(std::string(kErase) + "bench: gloo: no program\n" + kErase +
                                      "bench  25 %"));
}

TEST(Progress, RemarksAreSaidWithoutATerminalToo) {
  std::ostringstream errors;
  Progress(errors, "bench", "points", {}, {}).note("gloo: no program");
  EXPECT_EQ(errors.str(), "bench: gloo: no program\n");
}

TEST(Progress, QuietSaysNothingAnywhere) {
  std::ostringstream errors;
  Progress progress(errors, "bench", "points", {.quiet = true}, kLive);
  progress.begin("barrier");
  progress.advance();
  progress.note("gloo: no program");
  progress.end();
  EXPECT_EQ(errors.str(), "");
}

TEST(Progress, VerboseSaysEveryStepOnALineOfItsOwn) {
  std::ostringstream errors;
  Progress progress(errors, "bench", "points", {.verbose = true}, kLive);
  progress.begin("barrier");
  progress.advance();
  progress.end();
  progress.end();
  EXPECT_THAT(errors.str(),
              testing::MatchesRegex("bench: barrier\nbench: 1 points in [0-9]+\\.[0-9][0-9] s\n"));
}

}  // namespace
}  // namespace cohort
