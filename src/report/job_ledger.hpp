#pragma once

// The ledgers of all ranks as one: what a job's groups did.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <cohort/ledger.hpp>

namespace cohort {

/// One rank's ledger as bytes for the other ranks. Local.
std::vector<std::byte> encode_ledger(std::span<const LedgerRow> rows);

/// The inverse. Local. Throws: Error{corrupt} for bytes that no `encode_ledger` wrote.
std::vector<LedgerRow> decode_ledger(std::span<const std::byte> bytes);

/// One row per group instance, operation, path and reason, in that order: calls of one rank (the
/// most that any rank counted), bytes and copied bytes summed over ranks, seconds as the most that
/// any rank spent. Local, pure.
std::vector<LedgerRow> merge_ledgers(std::span<const std::vector<LedgerRow>> ledgers);

/// World ranks as people write them: "0-3", "0,2,4-5". Local, pure.
std::string format_ranks(std::span<const WorldRank> ranks);

/// A table by group, at most 80 columns wide, and below it in words every reason other than `ok`.
/// Local.
std::string ledger_as_text(std::span<const LedgerRow> rows);

}  // namespace cohort
