#pragma once

// The job's first fault, in the control segment: claimed by one rank, written once, read by all.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include <cohort/error.hpp>
#include <cohort/ids.hpp>

#include "base/function_ref.hpp"

namespace cohort::host {

/// `claim` is 0, then owner(rank) while that rank writes the rest, then kComplete for ever. Plain
/// data, so that every process can map it.
struct FaultRecord {
  static constexpr std::uint32_t kComplete = ~std::uint32_t{0};
  static constexpr std::uint32_t kNoRank = ~std::uint32_t{0};
  static constexpr std::uint32_t owner(WorldRank rank) noexcept { return rank.index() + 1; }

  alignas(64) std::atomic<std::uint32_t> claim{0};
  std::uint32_t code = 0;        ///< ErrorCode
  std::uint32_t rank = kNoRank;  ///< the rank the fault is about
  std::uint32_t phase_bytes = 0;
  std::uint32_t text_bytes = 0;
  std::array<char, 44> phase{};
  /// A timeout in a circle of waits tells the last calls of several ranks.
  std::array<char, 4000> text{};
};

/// Writes `error` unless there is a fault already; whether it did. Waits a moment for another rank
/// that is writing, and takes over from one that `is_dead`: nobody else would end the others.
bool write_first_fault(FaultRecord& record, WorldRank writer, const Error& error,
                       FunctionRef<bool(WorldRank)> is_dead,
                       std::chrono::milliseconds patience) noexcept;

bool is_complete(const FaultRecord& record) noexcept;

/// Requires: it is complete. What a peer wrote is not trusted beyond its arrays.
Error read_fault(const FaultRecord& record);

}  // namespace cohort::host
