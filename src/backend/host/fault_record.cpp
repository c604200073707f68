#include "backend/host/fault_record.hpp"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cohort::host {
namespace {

std::uint32_t copy_text(std::string_view text, std::span<char> target) noexcept {
  const std::size_t bytes = std::min(text.size(), target.size());
  std::memcpy(target.data(), text.data(), bytes);
  return static_cast<std::uint32_t>(bytes);
}

std::string read_text(std::span<const char> source, std::uint32_t bytes) {
  return {source.data(), std::min<std::size_t>(bytes, source.size())};
}

/// True if the record is the caller's to write.
bool claim(FaultRecord& record, WorldRank writer, FunctionRef<bool(WorldRank)> is_dead,
           std::chrono::milliseconds patience) noexcept {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    std::uint32_t seen = 0;
    const std::uint32_t mine = FaultRecord::owner(writer);
    if (record.claim.compare_exchange_strong(seen, mine, std::memory_order_seq_cst)) return true;
    if (seen == FaultRecord::kComplete) return false;
    if (is_dead(WorldRank{seen - 1}) &&
        record.claim.compare_exchange_strong(seen, mine, std::memory_order_seq_cst)) {
      return true;
    }
    if (std::chrono::steady_clock::now() >= deadline) return false;
    ::sched_yield();
  }
}

}  // namespace

bool write_first_fault(FaultRecord& record, WorldRank writer, const Error& error,
                       FunctionRef<bool(WorldRank)> is_dead,
                       std::chrono::milliseconds patience) noexcept {
  if (!claim(record, writer, is_dead, patience)) return false;
  record.code = static_cast<std::uint32_t>(error.code());
  record.rank = error.rank() ? error.rank()->index() : FaultRecord::kNoRank;
  record.phase_bytes = copy_text(error.phase(), record.phase);
  record.text_bytes = copy_text(error.what(), record.text);
  record.claim.store(FaultRecord::kComplete, std::memory_order_seq_cst);
  return true;
}

bool is_complete(const FaultRecord& record) noexcept {
  return record.claim.load(std::memory_order_seq_cst) == FaultRecord::kComplete;
}

Error read_fault(const FaultRecord& record) {
  std::optional<WorldRank> about;
  if (record.rank != FaultRecord::kNoRank) about = WorldRank{record.rank};
  return Error(static_cast<ErrorCode>(record.code), read_text(record.text, record.text_bytes),
               about, read_text(record.phase, record.phase_bytes));
}

}  // namespace cohort::host
