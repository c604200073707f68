#pragma once

// What hosts tell each other of a (group, lane) in GPU memory: calls in plain words, by their hash,
// to print both sides of a mismatch; and refusals, which kernels know nothing of. In host memory of
// the rank that writes them.

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include <cohort/error.hpp>

#include "collectives/header.hpp"
#include "heap/device_channel.hpp"

namespace cohort::cuda {

/// A call that its rank refused. Peers look at it only once `ChannelNotes::made` has reached it.
struct RefusalNote {
  std::atomic<std::uint64_t> call;  ///< the how-manieth of its channel, counted from 1
  std::atomic<std::uint32_t> code;
  char text[228];  ///< ends with 0
};
static_assert(sizeof(RefusalNote) == 240);

struct ChannelNotes {
  static constexpr std::size_t kCalls = 32;
  static constexpr std::size_t kRefusals = 8;

  /// Calls that the owner has launched or refused, counted from 1; replays of graphs not among
  /// them.
  alignas(64) std::atomic<std::uint64_t> made;
  alignas(64) std::array<collectives::NotedCall, kCalls> calls;  ///< by hash; its sequence is that
  std::array<RefusalNote, kRefusals> refusals;                   ///< by call

  collectives::NotedCall& noted(std::uint64_t hash) noexcept { return calls[hash % kCalls]; }
  const collectives::NotedCall& noted(std::uint64_t hash) const noexcept {
    return calls[hash % kCalls];
  }
  RefusalNote& refusal(std::uint64_t call) noexcept { return refusals[call % kRefusals]; }
  const RefusalNote& refusal(std::uint64_t call) const noexcept {
    return refusals[call % kRefusals];
  }
};
static_assert(sizeof(ChannelNotes) <= heap::kNotesBytes);

}  // namespace cohort::cuda
