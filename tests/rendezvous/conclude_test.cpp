#include <csignal>

#include <gtest/gtest.h>

#include "rendezvous/launcher.hpp"

namespace cohort::rendezvous {
namespace {

RankEnd exited(int code, std::uint32_t order = 1) {
  RankEnd end;
  end.exit_code = code;
  end.order = order;
  return end;
}

RankEnd died(int signal, std::uint32_t order = 1) {
  RankEnd end;
  end.signal = signal;
  end.order = order;
  return end;
}

RankEnd reported(RankEnd end, const Error& error) {
  end.report = error;
  return end;
}

LaunchResult conclude_all(std::vector<RankEnd> ends) {
  return conclude(std::move(ends), "program", std::nullopt);
}

TEST(Conclude, AllWell) {
  const LaunchResult result = conclude_all({exited(0), exited(0)});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_FALSE(result.fault);
}

TEST(Conclude, TheFirstRankToFailDecidesTheExitCode) {
  EXPECT_EQ(conclude_all({exited(1, 2), exited(2, 1)}).exit_code, 2);
  EXPECT_EQ(conclude_all({exited(1, 1), exited(2, 2)}).exit_code, 1);
  EXPECT_EQ(conclude_all({exited(77), exited(0)}).exit_code, 1);
}

TEST(Conclude, ADeathExplainsFailuresOfTheSameMoment) {
  const Error seen(ErrorCode::peer_failed,
                   "rank 2 died (rank 0 was waiting for rank 2 in barrier on world, call 4)",
                   WorldRank{2}, "barrier");
  const LaunchResult result =
      conclude_all({reported(exited(1), seen), reported(exited(1), seen), died(SIGKILL)});
  EXPECT_EQ(result.exit_code, 1);
  ASSERT_TRUE(result.fault);
  EXPECT_STREQ(result.fault->what(),
               "rank 2 died of signal 9 (Killed); rank 0 was waiting for rank 2 in barrier on "
               "world, call 4");
  EXPECT_EQ(result.fault->rank(), WorldRank{2});
  EXPECT_EQ(result.fault->code(), ErrorCode::peer_failed);
}

TEST(Conclude, ADeathExplainsThoseWhoGaveUpHoweverLateItIsHeardOf) {
  const auto gone = [](std::uint32_t rank, std::uint32_t by) {
    const std::string name = "rank " + std::to_string(rank);
    return Error(ErrorCode::peer_failed,
                 name + " ended while joining (rank " + std::to_string(by) + " was waiting for " +
                     name + " in join)",
                 WorldRank{rank}, "join");
  };
  // Rank 0 gave up because of rank 3, the others because of rank 0.
  const LaunchResult direct =
      conclude_all({reported(exited(1, 1), gone(3, 0)), reported(exited(1, 2), gone(0, 1)),
                    reported(exited(1, 2), gone(0, 2)), died(SIGKILL, 3)});
  EXPECT_STREQ(direct.fault->what(),
               "rank 3 died of signal 9 (Killed); rank 0 was waiting for rank 3 in join");
  const LaunchResult indirect =
      conclude_all({reported(exited(1, 1), gone(2, 0)), died(SIGKILL, 2), exited(0)});
  EXPECT_STREQ(indirect.fault->what(),
               "rank 1 died of signal 9 (Killed); rank 0 was waiting for rank 2 in join");
}

TEST(Conclude, WhatTheLauncherEndedIsNotTheCause) {
  RankEnd ended = died(SIGTERM, 1);
  ended.ended_by_launcher = true;
  const LaunchResult result = conclude_all({ended, exited(3, 2)});
  EXPECT_STREQ(result.fault->what(), "rank 1 ended with exit code 3");
}

TEST(Conclude, TheCauseIsReportedNotItsConsequences) {
  const Error left(ErrorCode::peer_failed, "rank 1 left (rank 0 was waiting for rank 1 in join)",
                   WorldRank{1}, "join");
  const Error torn(ErrorCode::corrupt, "model.gguf is torn", WorldRank{1}, "load");
  const LaunchResult result =
      conclude_all({reported(exited(1, 1), left), reported(exited(2, 2), torn)});
  EXPECT_EQ(result.fault->code(), ErrorCode::corrupt);
  EXPECT_STREQ(result.fault->what(), "model.gguf is torn");
}

TEST(Conclude, OfEqualReportsThePlainestIsPrinted) {
  const Error torn(ErrorCode::corrupt, "torn", WorldRank{1}, "load");
  const Error repeated(ErrorCode::corrupt, "torn (rank 0 was waiting for rank 1 in load)",
                       WorldRank{1}, "load");
  const LaunchResult result =
      conclude_all({reported(exited(2, 1), repeated), reported(exited(2, 2), torn)});
  EXPECT_STREQ(result.fault->what(), "torn");
}

TEST(Conclude, AProgramThatCannotBeStartedIsWrongUse) {
  RankEnd end = exited(127);
  end.exec_errno = ENOENT;
  const LaunchResult result = conclude_all({end, end});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_STREQ(result.fault->what(), "cannot start 'program': No such file or directory");
}

TEST(Conclude, AnInterruptionIsNoFault) {
  const LaunchResult result = conclude({died(SIGINT), exited(1)}, "program", SIGINT);
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_FALSE(result.fault);
  EXPECT_EQ(conclude({died(SIGTERM)}, "program", SIGTERM).exit_code, 143);
}

}  // namespace
}  // namespace cohort::rendezvous
