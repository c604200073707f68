#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/job_ledger.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<WorldRank> ranks_of(std::initializer_list<std::uint32_t> indices) {
  std::vector<WorldRank> ranks;
  for (const std::uint32_t index : indices) ranks.emplace_back(index);
  return ranks;
}

TEST(LedgerText, RanksAreWrittenAsPeopleDo) {
  EXPECT_EQ(format_ranks(ranks_of({})), "");
  EXPECT_EQ(format_ranks(ranks_of({5})), "5");
  EXPECT_EQ(format_ranks(ranks_of({0, 1, 2, 3})), "0-3");
  EXPECT_EQ(format_ranks(ranks_of({0, 2, 4, 6})), "0,2,4,6");
  EXPECT_EQ(format_ranks(ranks_of({0, 1, 4, 5, 9})), "0-1,4-5,9");
}

LedgerRow row_of(Path path, Reason reason) {
  LedgerRow row;
  row.group = GroupKind::attn_cp;
  row.ranks = ranks_of({0, 2, 4, 6});
  row.op = Op::reduce_scatterv;
  row.path = path;
  row.reason = reason;
  row.calls = 123456;
  row.bytes = 987654321;
  row.copied_bytes = 1024;
  row.transfer_s = 12.3456;
  row.wait_s = 0.5;
  return row;
}

TEST(LedgerText, ColumnsLineUpWithin100Columns) {
  const std::vector<LedgerRow> rows = {row_of(Path::host_direct, Reason::ok),
                                       row_of(Path::local, Reason::group_size_one)};
  std::istringstream lines(ledger_as_text(rows));
  std::string heading;
  std::string line;
  std::getline(lines, heading);
  EXPECT_THAT(heading, HasSubstr("group   ranks   op"));
  for (int i = 0; i < 2; ++i) {
    std::getline(lines, line);
    EXPECT_EQ(line.size(), heading.size());
    EXPECT_LE(line.size(), 100);
    EXPECT_EQ(line.find("reduce_scatterv"), heading.find("op"));
    EXPECT_THAT(line, HasSubstr("123456 941.9 MiB 1.0 KiB"));
    EXPECT_THAT(line, HasSubstr("12.346  0.500"));
  }
}

TEST(LedgerText, NarrowTablesAreNotSqueezed) {
  LedgerRow row = row_of(Path::local, Reason::ok);
  row.op = Op::barrier;
  EXPECT_THAT(ledger_as_text({{row}}), HasSubstr("group    ranks    op"));
}

TEST(LedgerText, ReasonsOtherThanOkAreSaidInWordsOnce) {
  const std::vector<LedgerRow> rows = {row_of(Path::host_direct, Reason::ok),
                                       row_of(Path::host_staged, Reason::disabled),
                                       row_of(Path::host_staged, Reason::disabled)};
  const std::string text = ledger_as_text(rows);
  const std::string words = "\ndisabled: " + std::string(explain(Reason::disabled)) + "\n";
  EXPECT_THAT(text, HasSubstr(words));
  EXPECT_EQ(text.find(words), text.rfind(words));
  EXPECT_THAT(text, Not(HasSubstr("\nok:")));
}

}  // namespace
}  // namespace cohort
