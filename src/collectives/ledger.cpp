#include "collectives/ledger.hpp"

#include <chrono>
#include <thread>

namespace cohort::collectives {

double seconds_per_tick() {
  static const double value = [] {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const std::uint64_t begin_ticks = ticks();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const std::uint64_t end_ticks = ticks();
    const std::chrono::duration<double> elapsed = Clock::now() - begin;
    return elapsed.count() / static_cast<double>(end_ticks - begin_ticks);
  }();
  return value;
}

void Ledger::append_rows(GroupKind kind, std::span<const WorldRank> ranks,
                         std::vector<LedgerRow>& rows) const {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const LedgerEntry& entry = entries_[i];
    if (entry.calls == 0) continue;
    LedgerRow row;
    row.group = kind;
    row.ranks.assign(ranks.begin(), ranks.end());
    row.op = static_cast<Op>(i / (kPathCount * kReasonCount));
    row.path = static_cast<Path>(i / kReasonCount % kPathCount);
    row.reason = static_cast<Reason>(i % kReasonCount);
    row.calls = entry.calls;
    row.bytes = entry.bytes;
    row.copied_bytes = entry.copied_bytes;
    row.wait_s = static_cast<double>(entry.wait_ticks) * seconds_per_tick();
    row.transfer_s = static_cast<double>(entry.total_ticks - entry.wait_ticks) * seconds_per_tick();
    rows.push_back(std::move(row));
  }
}

}  // namespace cohort::collectives
