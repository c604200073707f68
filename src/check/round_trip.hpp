#pragma once

// How long a word takes from one rank to another and back, through shared memory.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/function_ref.hpp"

namespace cohort::check {

/// Two words in memory that both ranks have mapped, each on a cache line of its own; 0 at first.
struct TripWords {
  alignas(64) std::atomic<std::uint32_t> call{0};
  alignas(64) std::atomic<std::uint32_t> answer{0};
};

enum class TripWait : std::uint8_t {
  spin,   ///< looks at the word again and again, as ranks with a CPU each do
  sleep,  ///< on a futex, as ranks do that wait for long
};

/// Limits of one measurement: whichever is reached first.
struct TripLimits {
  std::size_t count = 1000;
  std::chrono::milliseconds time{50};
};

/// The times of round trips, in nanoseconds.
struct TripTimes {
  double median_ns = 0;
  double best_ns = 0;  ///< what they could all take if nothing else ran

  friend bool operator==(const TripTimes&, const TripTimes&) = default;
};

/// Times round trips to whoever is in `answer_round_trips`.
/// Collective over the two, once for each pair of words. `check` is called now and then while
/// waiting: what it throws ends the wait.
TripTimes time_round_trips(TripWords& words, TripWait wait, const TripLimits& limits,
                           FunctionRef<void()> check);
void answer_round_trips(TripWords& words, TripWait wait, FunctionRef<void()> check);

}  // namespace cohort::check
