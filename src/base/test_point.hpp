#pragma once

// Named places of the protocol where a test may delay, stop or end a rank, or let another one run
// first. Without COHORT_ASSERTIONS there is nothing of it.

#include <string_view>

namespace cohort {

#if defined(COHORT_ASSERTIONS)

/// What a test does at test points. It is called by the rank's own thread.
class TestHooks {
 public:
  TestHooks() = default;
  virtual ~TestHooks() = default;
  TestHooks(const TestHooks&) = delete;
  TestHooks& operator=(const TestHooks&) = delete;
  virtual void reach(std::string_view point) = 0;
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

#else

constexpr void test_point(std::string_view /*point*/) noexcept {}

#endif

}  // namespace cohort
