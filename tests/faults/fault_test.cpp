#include "faults/fault.hpp"

#include <gtest/gtest.h>

#include "faults/cohort_ranks.hpp"

namespace cohort::faults {
namespace {

RankEnd ended_with(ErrorCode code, const std::string& text) {
  RankEnd end;
  end.error = Error(code, text);
  return end;
}

TEST(JudgeNaive, WrongResultsWeighMoreThanAHang) {
  std::vector<RankEnd> ends(2);
  ends[0].wrong_values = 1;
  ends[0].wrong = "element 0 is 1 instead of 2";
  ends[1].kind = RankEnd::Kind::hung;
  ends[1].doing = "all_reduce of tp";
  const Observation seen = judge_naive(ends);
  EXPECT_EQ(seen.outcome, Outcome::wrong);
  EXPECT_TRUE(seen.as_said);
  EXPECT_EQ(seen.text, "rank 0: element 0 is 1 instead of 2; rank 1: stuck in all_reduce of tp");
}

TEST(JudgeNaive, WhatDidNotFailIsNotCalledAFailure) {
  std::vector<RankEnd> ends(2);
  EXPECT_EQ(judge_naive(ends).outcome, Outcome::right);
  EXPECT_FALSE(judge_naive(ends).as_said);
  ends[1].copied_bytes = 64;
  EXPECT_EQ(judge_naive(ends).outcome, Outcome::slow);
  ends[0] = ended_with(ErrorCode::system, "no memory");
  EXPECT_EQ(judge_naive(ends).outcome, Outcome::broken);
  EXPECT_FALSE(judge_naive(ends).as_said);
}

TEST(JudgeRight, NeedsEveryRankToFinishWithRightResults) {
  std::vector<RankEnd> ends(3);
  for (RankEnd& end : ends) end.said = "fine";
  EXPECT_TRUE(judge_right(ends, Outcome::refused).as_said);
  EXPECT_EQ(judge_right(ends, Outcome::refused).outcome, Outcome::refused);
  EXPECT_EQ(judge_right(ends).text, "all ranks: fine");
  auto one_wrong = ends;
  one_wrong[1].wrong_values = 1;
  one_wrong[1].wrong = "element 3";
  EXPECT_FALSE(judge_right(one_wrong).as_said);
  EXPECT_EQ(judge_right(one_wrong).outcome, Outcome::broken);
  EXPECT_EQ(judge_right(one_wrong).text, "ranks 0, 2: fine; rank 1: element 3");
  auto one_stuck = ends;
  one_stuck[2].kind = RankEnd::Kind::hung;
  EXPECT_FALSE(judge_right(one_stuck).as_said);
  auto one_failed = ends;
  one_failed[0] = ended_with(ErrorCode::timeout, "late");
  EXPECT_FALSE(judge_right(one_failed).as_said);
}

TEST(JudgeEnded, NeedsTheSameErrorOnEveryRankAndNoWrongResult) {
  const std::vector<std::string> parts = {"rank 1"};
  const std::vector<RankEnd> ends(3, ended_with(ErrorCode::mismatch, "rank 1 called"));
  EXPECT_TRUE(judge_ended(ends, ErrorCode::mismatch, parts).as_said);
  EXPECT_EQ(judge_ended(ends, ErrorCode::mismatch, parts).text,
            "all ranks: mismatch: rank 1 called");
  EXPECT_FALSE(judge_ended(ends, ErrorCode::timeout, parts).as_said);
  EXPECT_FALSE(judge_ended(ends, ErrorCode::mismatch, std::vector<std::string>{"rank 2"}).as_said);
  auto one_right = ends;
  one_right[2] = RankEnd{};
  EXPECT_FALSE(judge_ended(one_right, ErrorCode::mismatch, parts).as_said);
  EXPECT_TRUE(judge_ended(one_right, ErrorCode::mismatch, parts, 2).as_said);
  auto one_wrong = ends;
  one_wrong[0].wrong_values = 1;
  EXPECT_FALSE(judge_ended(one_wrong, ErrorCode::mismatch, parts).as_said);
}

}  // namespace
}  // namespace cohort::faults
