#include <algorithm>
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

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(LedgerText, ColumnsLineUpBelowTheirGroup) {
  LedgerRow other = row_of(Path::host_inline, Reason::ok);
  other.op = Op::barrier;
  LedgerRow alone = other;
  alone.ranks = ranks_of({3});
  const auto lines =
      lines_of(ledger_as_text({{row_of(Path::host_direct, Reason::ok), other, alone}}));
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0],
            "  op              path        reason  calls     bytes  copied move s wait s");
  EXPECT_EQ(lines[1], "attn_cp, ranks 0, 2, 4, 6");
  EXPECT_EQ(lines[2],
            "  reduce_scatterv host_direct ok     123456 941.9 MiB 1.0 KiB 12.346  0.500");
  EXPECT_EQ(lines[3],
            "  barrier         host_inline ok     123456 941.9 MiB 1.0 KiB 12.346  0.500");
  EXPECT_EQ(lines[4], "attn_cp, rank 3");
}

TEST(LedgerText, FitsATerminal) {
  std::vector<WorldRank> even;
  for (std::uint32_t rank = 0; rank < 256; rank += 2) even.emplace_back(rank);
  for (std::size_t reason = 0; reason < kReasonCount; ++reason) {
    for (const Path path : {Path::local, Path::host_staged, Path::nccl_symmetric}) {
      LedgerRow row = row_of(path, static_cast<Reason>(reason));
      row.ranks = even;
      row.calls = 1'234'567'890;
      const auto lines = lines_of(ledger_as_text({{row, row_of(path, Reason::ok)}}));
      for (const std::string& line : lines) EXPECT_LE(line.size(), 80U) << line;
      const auto shows = [&](const std::string& text) {
        return std::ranges::any_of(
            lines, [&](const std::string& line) { return line.find(text) != std::string::npos; });
      };
      EXPECT_TRUE(shows(std::string(to_string(row.reason))));
      EXPECT_TRUE(shows("1234567890"));
      EXPECT_TRUE(shows("254"));
    }
  }
}

TEST(LedgerText, ReasonsOtherThanOkAreSaidInWordsOnce) {
  const std::vector<LedgerRow> rows = {row_of(Path::host_direct, Reason::ok),
                                       row_of(Path::host_staged, Reason::disabled),
                                       row_of(Path::host_staged, Reason::disabled)};
  const std::string text = ledger_as_text(rows);
  const std::string words = "\n\ndisabled: " + std::string(explain(Reason::disabled)).substr(0, 20);
  EXPECT_THAT(text, HasSubstr(words));
  EXPECT_EQ(text.find(words), text.rfind(words));
  EXPECT_THAT(text, Not(HasSubstr("\nok:")));
}

}  // namespace
}  // namespace cohort
