// A sample of the fault matrix, and that its judge would notice. All of it runs by the program
// `fault_matrix`.

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "matrix/board.hpp"
#include "matrix/fault_case.hpp"
#include "matrix/judge.hpp"
#include "matrix/run_case.hpp"
#include "matrix/table.hpp"

namespace cohort::matrix {
namespace {

#if defined(COHORT_THREAD_SANITIZER) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;  // shadow memory and its own descriptors: limits hit those first
#else
constexpr bool kSanitized = false;
#endif

constexpr std::array<std::uint32_t, 4> kRankCounts = {2, 3, 5, 8};
constexpr std::uint32_t kSeed = 20;

/// `count` cases of those that `chosen` takes.
template <typename Chosen>
std::vector<FaultCase> sample(std::size_t count, const Chosen& chosen) {
  std::vector<FaultCase> cases = all_cases(kRankCounts);
  std::erase_if(cases, [&](const FaultCase& each) {
    const bool limits = each.fault == Fault::addresses || each.fault == Fault::descriptors;
    const bool waits = each.step->name == "join handshake";
    return !chosen(each) || (kSanitized && (limits || waits || each.rank_count > 3));
  });
  std::mt19937 random(kSeed);
  std::ranges::shuffle(cases, random);
  cases.resize(std::min(cases.size(), count));
  return cases;
}

void expect_all_well(const std::vector<FaultCase>& cases) {
  run_cases(cases, 4, [](const FaultCase& each, const Outcome& outcome) {
    EXPECT_EQ(outcome.complaints, "") << each.describe();
  });
}

bool waits_for_deadline(Fault fault) {
  return fault == Fault::stop || fault == Fault::late || fault == Fault::delay;
}

TEST(FaultMatrix, DeathsAreNamedAtOnceAtAnyStep) {
  expect_all_well(sample(20, [](const FaultCase& each) { return each.fault == Fault::kill; }));
}

TEST(FaultMatrix, RanksThatDoNotComeAreNamedByTheDeadline) {
  expect_all_well(sample(12, [](const FaultCase& each) { return waits_for_deadline(each.fault); }));
}

TEST(FaultMatrix, WhatOneRankLacksIsEveryRanksError) {
  expect_all_well(sample(16, [](const FaultCase& each) {
    return each.fault == Fault::memory || each.fault == Fault::addresses ||
           each.fault == Fault::descriptors;
  }));
}

TEST(FaultMatrix, LiesAndBrokenMessagesAreFound) {
  expect_all_well(sample(16, [](const FaultCase& each) {
    return each.step->is_message || each.fault == Fault::plan || each.fault == Fault::digest;
  }));
}

/// Each stands for something that was mended for it: the comment says what happened without.
TEST(FaultMatrix, WhatWasMendedStaysMended) {
  struct Found {
    Fault fault;
    const char* step;
    std::uint32_t ranks;
    std::uint32_t victim;
  };
  constexpr std::array kFound = {
      Found{Fault::memory, "join.meet", 3, 1},         // the others waited for it
      Found{Fault::memory, "join.accept", 3, 1},       // they heard that it left, not why
      Found{Fault::memory, "join.control", 3, 1},      // as before, with a message unread
      Found{Fault::memory, "commit.allocate", 3, 2},   // the others waited for it
      Found{Fault::memory, "map.send", 3, 0},          // it named whom it waited for
      Found{Fault::memory, "call.publish", 3, 2},      // it left with another error
      Found{Fault::kill, "join.control", 3, 0},        // no step was named
      Found{Fault::kill, "commit.decide", 3, 1},       // a timeout was seen before the death
      Found{Fault::kill, "commit.allocate", 3, 1},     // no step was named
      Found{Fault::descriptors, "join.accept", 3, 0},  // it spun, and named who could not connect
      Found{Fault::descriptors, "map.receive", 3, 1},  // it named the sender
      Found{Fault::addresses, "join.agree", 2, 1},     // a thread that cannot start
      Found{Fault::digest, "commit.agree", 3, 0},      // the rank that noticed was named
      Found{Fault::truncated, "commit descriptor", 3, 1},   // nobody was named
      Found{Fault::size, "commit words", 2, 0},             // all were busy for ever
      Found{Fault::other_object, "join descriptor", 3, 0},  // another step was named
      Found{Fault::garbage, "join handshake", 3, 2},        // rank 2 named rank 0 to rank 1
      Found{Fault::stop, "join.connect", 3, 1},             // rank 2 named rank 0
      Found{Fault::stop, "commit.decide", 3, 1},            // nobody was named
  };
  std::vector<FaultCase> cases;
  for (const Found& each : kFound) {
    const bool limits = each.fault == Fault::addresses || each.fault == Fault::descriptors;
    const bool waits = each.fault == Fault::stop || each.step == std::string("join handshake");
    if (kSanitized && (limits || waits)) continue;
    cases.push_back({each.fault, &step_of(each.step), each.ranks, each.victim});
  }
  expect_all_well(cases);
}

// --- the judge
// ------------------------------------------------------------------------------------

/// A case as it must end: rank 1 of 3 is killed at a call.
class Judge : public testing::Test {
 protected:
  Judge() {
    board_.ranks[1].fired_ns = 1000;
    for (const std::uint32_t rank : {0U, 2U}) {
      WorldEnd& end = board_.ranks[rank].worlds[0];
      end.code = ErrorCode::peer_failed;
      end.about = 1;
      end.at_ns = 2000;
      copy_text(end.phase, "all_reduce");
      copy_text(end.text, "rank 1 died");
      end.state = WorldEnd::error;
      board_.ranks[rank].worlds[1].state = WorldEnd::well;
    }
    processes_[1].signal = SIGKILL;
  }

  std::string complaints() const { return judge(case_, board_, processes_).complaints; }
  WorldEnd& first_end() { return board_.ranks[0].worlds[0]; }

  const FaultCase case_{Fault::kill, &step_of("call.read"), 3, 1};
  Board board_;
  std::array<ProcessEnd, kRankCountMax> processes_{};
};

TEST_F(Judge, HasNothingToSayWhereAllIsAsItMustBe) {
  EXPECT_EQ(complaints(), "");
}

TEST_F(Judge, NoticesAWrongRank) {
  first_end().about = 2;
  EXPECT_NE(complaints().find("names 2"), std::string::npos) << complaints();
}

TEST_F(Judge, NoticesAWrongStep) {
  copy_text(first_end().phase, "");
  EXPECT_NE(complaints().find("another step"), std::string::npos) << complaints();
}

TEST_F(Judge, NoticesAWrongCodeAndThatRanksDisagree) {
  first_end().code = ErrorCode::timeout;
  EXPECT_NE(complaints().find("timeout"), std::string::npos);
  EXPECT_NE(complaints().find("do not agree"), std::string::npos);
}

TEST_F(Judge, NoticesSuccessThatCannotBe) {
  first_end().state = WorldEnd::well;
  EXPECT_NE(complaints().find("success"), std::string::npos);
}

TEST_F(Judge, NoticesWhatIsLeft) {
  copy_text(first_end().left_behind, "descriptor socket; ");
  EXPECT_NE(complaints().find("left descriptor"), std::string::npos);
}

TEST_F(Judge, NoticesAHangAndACrash) {
  processes_[0].hung = true;
  processes_[2].signal = SIGABRT;
  EXPECT_NE(complaints().find("hung"), std::string::npos);
  EXPECT_NE(complaints().find("signal 6"), std::string::npos);
}

TEST_F(Judge, NoticesALateError) {
  first_end().at_ns = 3600'000'000'000;
  EXPECT_NE(complaints().find("heard of it after"), std::string::npos);
}

TEST_F(Judge, NoticesThatNoNewWorldWasPossible) {
  board_.ranks[2].worlds[1].state = WorldEnd::error;
  EXPECT_NE(complaints().find("next world"), std::string::npos);
}

TEST_F(Judge, NoticesAFaultThatNeverHappened) {
  board_.ranks[1].fired_ns = 0;
  EXPECT_NE(complaints().find("never happened"), std::string::npos);
}

TEST(FaultTable, ReplacesWhatStandsBetweenItsMarkers) {
  Table table;
  table.add({Fault::kill, &step_of("call.read"), 3, 1}, {"peer_failed", 12, ""});
  table.add({Fault::kill, &step_of("call.read"), 3, 2}, {"peer_failed", 20, "something\n"});
  const std::string text = table.markdown();
  EXPECT_NE(text.find("| `call.read` | peer_failed 2; 0.02 s; **1 wrong** |"), std::string::npos)
      << text;
  EXPECT_NE(text.find("2 cases, 1 wrong."), std::string::npos);
  EXPECT_EQ(
      with_table("a\n<!-- fault_matrix: begin -->\nold\n<!-- fault_matrix: end -->\nb\n", "new\n"),
      "a\n<!-- fault_matrix: begin -->\n\nnew\n\n<!-- fault_matrix: end -->\nb\n");
  EXPECT_THROW(with_table("a\n", "new\n"), std::runtime_error);
}

}  // namespace
}  // namespace cohort::matrix
