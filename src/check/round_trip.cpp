#include "check/round_trip.hpp"

#include <sched.h>

#include <algorithm>
#include <vector>

#include "backend/host/futex.hpp"
#include "base/clock.hpp"

namespace cohort::check {
namespace {

constexpr std::uint32_t kEnd = 0xFFFF'FFFF;
constexpr std::chrono::milliseconds kSleepSlice{50};

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/// Returns the word's value once it is no longer `old`.
std::uint32_t await_change(const std::atomic<std::uint32_t>& word, std::uint32_t old, TripWait wait,
                           FunctionRef<void()> check) {
  // Where the other rank has no CPU of its own, it must be let run.
  constexpr std::uint32_t kSpinsBetweenYields = 2000;
  for (std::uint32_t spins = 1;; ++spins) {
    const std::uint32_t value = word.load(std::memory_order_acquire);
    if (value != old) return value;
    if (wait == TripWait::sleep) {
      host::futex_wait(word, old, kSleepSlice);
      check();
    } else if (spins % kSpinsBetweenYields == 0) {
      check();
      ::sched_yield();
    } else {
      pause();
    }
  }
}

void publish(std::atomic<std::uint32_t>& word, std::uint32_t value, TripWait wait) noexcept {
  word.store(value, std::memory_order_release);
  if (wait == TripWait::sleep) host::futex_wake_all(word);
}

}  // namespace

TripTimes time_round_trips(TripWords& words, TripWait wait, const TripLimits& limits,
                           FunctionRef<void()> check) {
  std::vector<double> times_ns;
  times_ns.reserve(limits.count);
  const auto began = Clock::now();
  auto before = began;
  for (std::uint32_t number = 1; number <= limits.count; ++number) {
    publish(words.call, number, wait);
    await_change(words.answer, number - 1, wait, check);
    const auto after = Clock::now();
    times_ns.push_back(std::chrono::duration<double, std::nano>(after - before).count());
    before = after;
    if (after - began > limits.time) break;
  }
  publish(words.call, kEnd, wait);
  const auto middle = times_ns.begin() + static_cast<std::ptrdiff_t>(times_ns.size() / 2);
  std::nth_element(times_ns.begin(), middle, times_ns.end());
  return {*middle, *std::min_element(times_ns.begin(), middle + 1)};
}

void answer_round_trips(TripWords& words, TripWait wait, FunctionRef<void()> check) {
  for (std::uint32_t heard = 0;;) {
    heard = await_change(words.call, heard, wait, check);
    if (heard == kEnd) return;
    publish(words.answer, heard, wait);
  }
}

}  // namespace cohort::check
