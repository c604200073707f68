#pragma once

// What hosts tell each other of a (group, lane) in GPU memory: calls in plain words, by their hash
// to print both sides of a mismatch, by their number to say what a rank called last and to stand in
// for it; and refusals, which kernels know nothing of. In host memory of the rank that writes them.
//
// Peers may look while a note is being replaced: all words are atomic, and who has read one checks
// behind it that it is still about the same call.

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <cohort/error.hpp>

#include "collectives/header.hpp"
#include "heap/device_channel.hpp"

namespace cohort::cuda {

/// What became of a call on the rank that made it.
enum class Made : std::uint64_t { launched, captured, refused };

/// A call by its number on its channel, and what became of it there.
class NumberedCall {
 public:
  struct Seen {
    collectives::CallRecord record;
    Made made;
  };

  /// By its owner, before `ChannelNotes::made` reaches `number`.
  void store(collectives::CallRecord record, std::uint64_t number, Made made) noexcept {
    record.sequence = number;
    call_.store(record);
    made_.store(static_cast<std::uint64_t>(made), std::memory_order_release);
  }
  /// Nothing if another call stands there.
  std::optional<Seen> load_of(std::uint64_t number) const noexcept {
    const auto record = call_.load_of(number);
    if (!record) return std::nullopt;
    const auto made = static_cast<Made>(made_.load(std::memory_order_acquire));
    if (!call_.load_of(number)) return std::nullopt;
    return Seen{*record, made};
  }

 private:
  collectives::NotedCall call_;
  std::atomic<std::uint64_t> made_;
};

/// Why its rank refused a call.
class RefusalNote {
 public:
  void store(std::uint64_t number, std::string_view text) noexcept;
  /// Nothing if it is not about that call any more.
  std::optional<std::string> load_of(std::uint64_t number) const;

 private:
  std::atomic<std::uint64_t> number_;
  std::array<std::atomic<std::uint64_t>, 29> text_;  ///< ends with 0, or with the last word
};
static_assert(sizeof(RefusalNote) == 240);

struct ChannelNotes {
  static constexpr std::size_t kCalls = 32;
  static constexpr std::size_t kNumbered = 256;
  static constexpr std::size_t kRefusals = 8;

  /// Calls that the owner has launched, captured or refused, counted from 1; replays of graphs not
  /// among them.
  alignas(64) std::atomic<std::uint64_t> made;
  alignas(64) std::array<collectives::NotedCall, kCalls> calls;  ///< by hash; its sequence is that
  std::array<RefusalNote, kRefusals> refusals;                   ///< the last ones
  /// Refusals of the owner's that other members have to be told of, as they made those calls; and
  /// the numbers of the last ones, by this count.
  alignas(64) std::atomic<std::uint64_t> lone_refusals;
  std::array<std::atomic<std::uint64_t>, kRefusals> lone_numbers;
  alignas(64) std::array<NumberedCall, kNumbered> numbered;

  collectives::NotedCall& noted(std::uint64_t hash) noexcept { return calls[hash % kCalls]; }
  const collectives::NotedCall& noted(std::uint64_t hash) const noexcept {
    return calls[hash % kCalls];
  }
  /// Why the owner refused a call, while it is among the last ones.
  std::optional<std::string> refusal_of(std::uint64_t number) const;
  NumberedCall& call_of(std::uint64_t number) noexcept { return numbered[number % kNumbered]; }
  const NumberedCall& call_of(std::uint64_t number) const noexcept {
    return numbered[number % kNumbered];
  }
};
static_assert(sizeof(ChannelNotes) <= heap::kNotesBytes);

}  // namespace cohort::cuda
