#pragma once

// Named places of the protocol where a test may delay, stop or end a rank, or let another one run
// first; a test may also take over a rank's waits and its clock. Without COHORT_ASSERTIONS there is
// nothing of it.

#include <chrono>
#include <string_view>

#include "base/function_ref.hpp"

namespace cohort {

#if defined(COHORT_ASSERTIONS)

/// What a test does at test points. It is called by the rank's own thread.
class TestHooks {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  TestHooks() = default;
  virtual ~TestHooks() = default;
  TestHooks(const TestHooks&) = delete;
  TestHooks& operator=(const TestHooks&) = delete;
  virtual void reach(std::string_view point) = 0;

  /// Whether `sleep` and `now` stand in for the system's.
  virtual bool simulates() const noexcept { return false; }
  /// Returns once `awake()`, or once the simulated clock has reached `until`.
  virtual void sleep(FunctionRef<bool()> /*awake*/, TimePoint /*until*/) {}
  virtual TimePoint now() { return std::chrono::steady_clock::now(); }
  /// Whether the rank is to leave out what `step` names: a test of the test, which must notice.
  virtual bool leaves_out(std::string_view /*step*/) const noexcept { return false; }
};

/// The hooks of the calling thread; null where no test wants any.
inline TestHooks*& test_hooks() noexcept {
  thread_local TestHooks* hooks = nullptr;
  return hooks;
}

/// The calling rank is about to do what `point` names.
inline void test_point(std::string_view point) {
  if (TestHooks* const hooks = test_hooks(); hooks != nullptr) hooks->reach(point);
}

/// Whether a test wants to see what happens without `step`.
inline bool test_leaves_out(std::string_view step) noexcept {
  const TestHooks* const hooks = test_hooks();
  return hooks != nullptr && hooks->leaves_out(step);
}

/// Whether waits must go to `simulated_sleep` at once.
inline bool time_is_simulated() noexcept {
  const TestHooks* const hooks = test_hooks();
  return hooks != nullptr && hooks->simulates();
}

/// Requires: `time_is_simulated`.
inline void simulated_sleep(FunctionRef<bool()> awake, TestHooks::TimePoint until) {
  test_hooks()->sleep(awake, until);
}

/// The time by which ranks judge their deadlines.
inline std::chrono::steady_clock::time_point deadline_clock() {
  return time_is_simulated() ? test_hooks()->now() : std::chrono::steady_clock::now();
}

#else

constexpr void test_point(std::string_view /*point*/) noexcept {}
constexpr bool test_leaves_out(std::string_view /*step*/) noexcept {
  return false;
}
constexpr bool time_is_simulated() noexcept {
  return false;
}
inline void simulated_sleep(FunctionRef<bool()> /*awake*/,
                            std::chrono::steady_clock::time_point /*until*/) noexcept {}
inline std::chrono::steady_clock::time_point deadline_clock() noexcept {
  return std::chrono::steady_clock::now();
}

#endif

}  // namespace cohort
