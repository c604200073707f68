#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/facts.hpp"
#include "check/judge.hpp"

namespace cohort::check {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

std::vector<RankReport> good_reports(std::uint32_t ranks) {
  std::vector<RankReport> reports(ranks);
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    reports[rank].join_seconds = 0.002 + 0.001 * rank;
    reports[rank].shares_memory = true;
    reports[rank].finished = true;
    if (rank > 0) reports[0].trips.push_back({rank, {120.0 * rank, 90}, {4500.0 * rank, 4000}});
  }
  return reports;
}

TEST(JoinRow, SaysHowLongTheSlowestTook) {
  auto reports = good_reports(3);
  EXPECT_EQ(join_row(reports, std::nullopt).value, "3 ranks in 4.0 ms");
  EXPECT_EQ(join_row(reports, std::nullopt).status, Status::ok);
  EXPECT_EQ(join_row(good_reports(1), std::nullopt).value, "1 rank in 2.0 ms");
  reports[1].join_seconds = 3.25;
  const Row slow = join_row(reports, std::nullopt);
  EXPECT_EQ(slow.status, Status::warning);
  EXPECT_EQ(slow.value, "3 ranks in 3.2 s");
  EXPECT_THAT(slow.meaning, HasSubstr("the last was rank 1"));
}

TEST(JoinRow, AMissingRankIsAProblemWithItsReason) {
  auto reports = good_reports(3);
  reports[1].join_seconds.reset();
  const Row row = join_row(reports, "rank 1 died of signal 9 (Killed)");
  EXPECT_EQ(row.status, Status::problem);
  EXPECT_EQ(row.value, "2 of 3 ranks joined");
  EXPECT_EQ(row.meaning, "The job ended with: rank 1 died of signal 9 (Killed).");
  EXPECT_EQ(join_row(reports, std::nullopt).status, Status::problem);
}

TEST(SharedMemoryRow, NamesTheFirstRankThatCouldNot) {
  auto reports = good_reports(3);
  EXPECT_EQ(shared_memory_row(reports, std::nullopt).status, Status::ok);
  reports[2].shares_memory = false;
  const Row row = shared_memory_row(reports, "rank 2 could not map shared memory");
  EXPECT_EQ(row.status, Status::problem);
  EXPECT_EQ(row.value, "rank 2 could not");
  EXPECT_THAT(row.meaning, HasSubstr("ended with: rank 2 could not map shared memory."));
}

TEST(SharedMemoryRow, AFailureAfterwardsIsNotLost) {
  auto reports = good_reports(2);
  EXPECT_EQ(shared_memory_row(reports, "rank 1 does not answer rank 0").status, Status::problem);
  reports[1].finished = false;
  EXPECT_EQ(shared_memory_row(reports, std::nullopt).status, Status::problem);
}

TEST(SharedMemoryRow, IsNotTriedByRanksThatDidNotJoin) {
  const Row row = shared_memory_row(std::vector<RankReport>(2), "no");
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_EQ(row.remedy, "See join.");
}

TEST(TripRows, ShowTheSlowestPair) {
  const HostFacts facts = good_facts();
  const Row one = spin_trip_row(good_reports(2), facts);
  EXPECT_EQ(one.value, "0.12 us (best 0.09 us)");
  EXPECT_EQ(one.status, Status::ok);
  const Row three = spin_trip_row(good_reports(4), facts);
  EXPECT_EQ(three.value, "0.36 us (best 0.09 us), ranks 0 and 3, the slowest of 3 pairs");
  EXPECT_EQ(sleep_trip_row(good_reports(2)).value, "4.50 us (best 4.00 us)");
  EXPECT_EQ(sleep_trip_row(good_reports(2)).status, Status::ok);
}

TEST(TripRows, WarnOfSlowOnesWithTheLikelyReason) {
  auto reports = good_reports(2);
  reports[0].trips[0] = {1, {2e6, 100}, {3e6, 4000}};
  HostFacts facts = good_facts();
  EXPECT_EQ(spin_trip_row(reports, facts).status, Status::warning);
  EXPECT_THAT(spin_trip_row(reports, facts).remedy, HasSubstr("other load"));
  EXPECT_EQ(spin_trip_row(reports, facts).value, "2.0 ms (best 0.10 us)");
  EXPECT_EQ(sleep_trip_row(reports).status, Status::warning);
  facts.usable_cpus = 1;
  EXPECT_EQ(spin_trip_row(reports, facts).remedy, "See cpus.");
}

TEST(TripRows, WithoutAMeasurementSayWhy) {
  EXPECT_EQ(spin_trip_row(good_reports(1), good_facts()).status, Status::ok);
  EXPECT_EQ(sleep_trip_row(good_reports(1)).value, "not measured");
  EXPECT_EQ(spin_trip_row(std::vector<RankReport>(2), good_facts()).status, Status::warning);
  EXPECT_EQ(sleep_trip_row(std::vector<RankReport>(2)).remedy, "See join.");
}

TEST(Judge, AGoodMachineHasNothingToDo) {
  const auto rows = judge(good_facts(), {4, std::uint64_t{1} << 28}, good_reports(4), std::nullopt);
  std::set<std::string> names;
  for (const Row& row : rows) {
    EXPECT_EQ(row.status, Status::ok) << row.name << ": " << row.value;
    EXPECT_THAT(row.remedy, IsEmpty()) << row.name;
    EXPECT_FALSE(row.meaning.empty()) << row.name;
    EXPECT_FALSE(row.value.empty()) << row.name;
    names.insert(row.name);
  }
  EXPECT_EQ(names.size(), rows.size());
}

TEST(Judge, WhateverIsNotWellHasARemedy) {
  HostFacts nothing;
  nothing.memfd.refused_errno = 1;
  nothing.pidfd.refused_errno = 1;
  nothing.open_files = {3, 3};
  nothing.address_space_bytes = {1, 1};
  nothing.file_bytes = {1, 1};
  nothing.allowed_nodes = 2;
  const auto rows = judge(nothing, {3, std::uint64_t{1} << 40}, std::vector<RankReport>(3), "no");
  int problems = 0;
  for (const Row& row : rows) {
    EXPECT_EQ(row.remedy.empty(), row.status == Status::ok) << row.name;
    if (row.status == Status::problem) ++problems;
  }
  EXPECT_EQ(problems, 5);  // memfd, open_files, address_space, file_size, join
}

TEST(Judge, TakesRefusalsAndNodesFromTheReports) {
  HostFacts facts = good_facts();
  facts.allowed_nodes = 2;
  auto reports = good_reports(2);
  reports[0].node = 0;
  reports[1].addresses = "no room";
  const auto rows = judge(facts, {2, std::nullopt}, reports, std::nullopt);
  const auto row_of = [&](const std::string& name) {
    for (const Row& row : rows) {
      if (row.name == name) return row;
    }
    return Row{};
  };
  EXPECT_EQ(row_of("memory_nodes").value, "2 nodes, 1 of 2 ranks bound");
  EXPECT_EQ(row_of("address_space").status, Status::problem);
}

}  // namespace
}  // namespace cohort::check
