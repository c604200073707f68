#include "report/job_ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

LedgerRow row_of(GroupKind group, const std::vector<std::uint32_t>& ranks, Op op) {
  LedgerRow row;
  row.group = group;
  for (const std::uint32_t rank : ranks) row.ranks.emplace_back(rank);
  row.op = op;
  row.path = Path::host_direct;
  row.calls = 10;
  row.bytes = 1000;
  row.copied_bytes = 7;
  row.transfer_s = 0.5;
  row.wait_s = 0.25;
  return row;
}

void expect_equal(const LedgerRow& a, const LedgerRow& b) {
  EXPECT_EQ(a.group, b.group);
  EXPECT_EQ(a.ranks, b.ranks);
  EXPECT_EQ(a.op, b.op);
  EXPECT_EQ(a.path, b.path);
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.calls, b.calls);
  EXPECT_EQ(a.bytes, b.bytes);
  EXPECT_EQ(a.copied_bytes, b.copied_bytes);
  EXPECT_EQ(a.transfer_s, b.transfer_s);
  EXPECT_EQ(a.wait_s, b.wait_s);
}

TEST(JobLedger, ArrivesAsItWasSent) {
  LedgerRow staged = row_of(GroupKind::attn_cp, {1, 3}, Op::all_gatherv);
  staged.path = Path::host_staged;
  staged.reason = Reason::disabled;
  const std::vector<LedgerRow> rows = {row_of(GroupKind::tp, {0, 1, 2, 3}, Op::all_reduce), staged};
  const auto received = decode_ledger(encode_ledger(rows));
  ASSERT_EQ(received.size(), 2);
  expect_equal(received[0], rows[0]);
  expect_equal(received[1], rows[1]);
  EXPECT_TRUE(decode_ledger(encode_ledger({})).empty());
}

TEST(JobLedger, RefusesWhatNoLedgerIs) {
  const std::vector<LedgerRow> rows = {row_of(GroupKind::tp, {0, 1}, Op::all_reduce)};
  const auto bytes = encode_ledger(rows);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(decode_ledger(std::span(bytes).first(size)), Error) << size << " bytes";
  }
  for (std::size_t place = 8; place < 12; ++place) {
    auto wrong = bytes;
    wrong[place] = std::byte{0xff};
    EXPECT_THROW(decode_ledger(wrong), Error) << "byte " << place;
  }
}

TEST(JobLedger, MergesRanksOfOneGroup) {
  LedgerRow first = row_of(GroupKind::tp, {0, 1}, Op::all_reduce);
  LedgerRow second = first;
  second.bytes = 500;
  second.copied_bytes = 0;
  second.transfer_s = 0.75;
  second.wait_s = 0.125;
  const std::vector<std::vector<LedgerRow>> ledgers = {{first}, {second}};
  const auto merged = merge_ledgers(ledgers);
  ASSERT_EQ(merged.size(), 1);
  EXPECT_EQ(merged[0].calls, 10) << "calls are counted per rank";
  EXPECT_EQ(merged[0].bytes, 1500);
  EXPECT_EQ(merged[0].copied_bytes, 7);
  EXPECT_EQ(merged[0].transfer_s, 0.75);
  EXPECT_EQ(merged[0].wait_s, 0.25);
}

TEST(JobLedger, KeepsGroupsOperationsPathsAndReasonsApart) {
  const LedgerRow base = row_of(GroupKind::attn_tp, {0, 1}, Op::all_reduce);
  std::vector<LedgerRow> rows(5, base);
  rows[0].group = GroupKind::tp;
  rows[1].ranks = {WorldRank{2}, WorldRank{3}};
  rows[2].op = Op::all_gather;
  rows[3].path = Path::host_inline;
  rows[4].reason = Reason::operand_not_in_heap;
  rows.push_back(base);
  EXPECT_EQ(merge_ledgers(std::vector{rows, rows}).size(), 6);
}

}  // namespace
}  // namespace cohort
