#pragma once

// Counts of verdicts of one group instance: a fixed table, so that a steady step allocates nothing.
// Written and read by the rank's own thread.

#include <array>
#include <cstdint>

#include <cohort/ledger.hpp>
#include <cohort/verdict.hpp>

namespace cohort::collectives {

/// Processor ticks for timing a call in a few nanoseconds; converted when the ledger is read.
inline std::uint64_t ticks() noexcept {
  return __builtin_ia32_rdtsc();
}

/// Seconds per tick, measured once per process against the steady clock.
double seconds_per_tick();

struct LedgerEntry {
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;
  std::uint64_t copied_bytes = 0;
  std::uint64_t total_ticks = 0;
  std::uint64_t wait_ticks = 0;
};

class Ledger {
 public:
  LedgerEntry& entry(Op op, Path path, Reason reason) noexcept {
    return entries_[(static_cast<std::size_t>(op) * kPathCount + static_cast<std::size_t>(path)) *
                        kReasonCount +
                    static_cast<std::size_t>(reason)];
  }
  /// Rows with at least one call, in the order of operations, paths and reasons.
  void append_rows(GroupKind kind, std::span<const WorldRank> ranks,
                   std::vector<LedgerRow>& rows) const;
  void clear() noexcept { entries_ = {}; }

 private:
  std::array<LedgerEntry, kOpCount * kPathCount * kReasonCount> entries_{};
};

}  // namespace cohort::collectives
