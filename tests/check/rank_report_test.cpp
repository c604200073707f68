#include "check/rank_report.hpp"

#include <gtest/gtest.h>

namespace cohort::check {
namespace {

RankReport full_report() {
  RankReport report;
  report.join_seconds = 0.0031234567890123456;
  report.node = 1;
  report.addresses = "could not reserve 4096 bytes of addresses: Cannot allocate memory";
  report.shares_memory = true;
  report.trips = {{1, {123.5, 0.1}, {4567.25, 4000}}, {15, {0.3, 0.2}, {1e9, 1e-9}}};
  report.finished = true;
  return report;
}

TEST(RankReport, SurvivesItsText) {
  for (const RankReport& report : {RankReport{}, full_report()}) {
    EXPECT_EQ(parse_rank_report(to_text(report)), report);
  }
}

TEST(RankReport, IsReadFromItsPlaceInZeroMemory) {
  EXPECT_EQ(parse_rank_report(to_text(full_report()) + std::string(100, '\0')), full_report());
  EXPECT_EQ(parse_rank_report(std::string(100, '\0')), RankReport{});
  EXPECT_EQ(parse_rank_report(""), RankReport{});
}

TEST(RankReport, SaysNothingOfWhatCannotBeRead) {
  EXPECT_EQ(parse_rank_report("joined\nnode x\naddresses\ntrip 1 2 3 4\nunknown 1\n\n"),
            RankReport{});
}

TEST(RankReport, EveryPieceOfItsTextCanBeRead) {
  // A rank may be killed while it writes.
  const std::string text = to_text(full_report());
  for (std::size_t length = 0; length < text.size(); ++length) {
    const RankReport part = parse_rank_report(text.substr(0, length));
    EXPECT_LE(part.trips.size(), 2u);
    EXPECT_FALSE(part.finished && length < text.size() - 1);
  }
}

TEST(RankReport, AReasonStaysOneLine) {
  RankReport report;
  report.addresses = "two\nfinished";
  const RankReport read = parse_rank_report(to_text(report));
  EXPECT_EQ(read.addresses, "two finished");
  EXPECT_FALSE(read.finished);
}

}  // namespace
}  // namespace cohort::check
