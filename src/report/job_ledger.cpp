#include "report/job_ledger.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>

#include <cohort/error.hpp>

#include "rendezvous/wire.hpp"

namespace cohort {

namespace {

template <typename Enum>
Enum checked_enum(std::uint8_t value, std::size_t count) {
  if (value >= count)
    throw Error(ErrorCode::corrupt,
                "a rank sent a ledger that cannot be read; start all ranks from the same build");
  return static_cast<Enum>(value);
}

std::vector<std::uint32_t> indices_of(std::span<const WorldRank> ranks) {
  std::vector<std::uint32_t> indices;
  for (const WorldRank rank : ranks) indices.push_back(rank.index());
  return indices;
}

}  // namespace

std::vector<std::byte> encode_ledger(std::span<const LedgerRow> rows) {
  wire::Writer writer;
  writer.put(static_cast<std::uint64_t>(rows.size()));
  for (const LedgerRow& row : rows) {
    writer.put(static_cast<std::uint8_t>(row.group));
    writer.put(static_cast<std::uint8_t>(row.op));
    writer.put(static_cast<std::uint8_t>(row.path));
    writer.put(static_cast<std::uint8_t>(row.reason));
    writer.put(static_cast<std::uint64_t>(row.ranks.size()));
    for (const WorldRank rank : row.ranks) writer.put(rank.index());
    writer.put(row.calls);
    writer.put(row.bytes);
    writer.put(row.copied_bytes);
    writer.put(std::bit_cast<std::uint64_t>(row.transfer_s));
    writer.put(std::bit_cast<std::uint64_t>(row.wait_s));
  }
  return writer.take();
}

std::vector<LedgerRow> decode_ledger(std::span<const std::byte> bytes) {
  wire::Reader reader(bytes);
  std::vector<LedgerRow> rows;
  const auto row_count = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < row_count; ++i) {
    LedgerRow row;
    row.group = checked_enum<GroupKind>(reader.get<std::uint8_t>(), kGroupKindCount);
    row.op = checked_enum<Op>(reader.get<std::uint8_t>(), kOpCount);
    row.path = checked_enum<Path>(reader.get<std::uint8_t>(), kPathCount);
    row.reason = checked_enum<Reason>(reader.get<std::uint8_t>(), kReasonCount);
    const auto rank_count = reader.get<std::uint64_t>();
    for (std::uint64_t rank = 0; rank < rank_count; ++rank) {
      row.ranks.emplace_back(reader.get<std::uint32_t>());
    }
    row.calls = reader.get<std::uint64_t>();
    row.bytes = reader.get<std::uint64_t>();
    row.copied_bytes = reader.get<std::uint64_t>();
    row.transfer_s = std::bit_cast<double>(reader.get<std::uint64_t>());
    row.wait_s = std::bit_cast<double>(reader.get<std::uint64_t>());
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<LedgerRow> merge_ledgers(std::span<const std::vector<LedgerRow>> ledgers) {
  using Key = std::tuple<GroupKind, std::vector<std::uint32_t>, Op, Path, Reason>;
  std::map<Key, LedgerRow> merged;
  for (const auto& ledger : ledgers) {
    for (const LedgerRow& row : ledger) {
      const Key key{row.group, indices_of(row.ranks), row.op, row.path, row.reason};
      const auto [found, is_new] = merged.try_emplace(key, row);
      if (is_new) continue;
      LedgerRow& sum = found->second;
      sum.calls = std::max(sum.calls, row.calls);
      sum.bytes += row.bytes;
      sum.copied_bytes += row.copied_bytes;
      sum.transfer_s = std::max(sum.transfer_s, row.transfer_s);
      sum.wait_s = std::max(sum.wait_s, row.wait_s);
    }
  }
  std::vector<LedgerRow> rows;
  for (auto& [key, row] : merged) rows.push_back(std::move(row));
  return rows;
}

}  // namespace cohort
