#pragma once

// Named messages of the protocol, which a test may alter on their way out: what a rank that lies or
// is broken would send. Without COHORT_ASSERTIONS there is nothing of it.

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace cohort {

#if defined(COHORT_ASSERTIONS)

/// What a test does to messages. It is called by the rank's own thread.
class TestMessages {
 public:
  TestMessages() = default;
  virtual ~TestMessages() = default;
  TestMessages(const TestMessages&) = delete;
  TestMessages& operator=(const TestMessages&) = delete;

  /// A message about to be sent, with the descriptor that goes with it, or -1.
  virtual void alter(std::string_view name, std::vector<std::byte>& bytes, int& fd) = 0;
  /// Words in shared memory about to be published.
  virtual void alter_words(std::string_view name, std::span<std::byte> bytes) = 0;
};

/// What alters the messages of the calling thread; null where no test wants it.
inline TestMessages*& test_messages() noexcept {
  thread_local TestMessages* messages = nullptr;
  return messages;
}

inline void test_message(std::string_view name, std::vector<std::byte>& bytes, int& fd) {
  if (TestMessages* const test = test_messages(); test != nullptr) test->alter(name, bytes, fd);
}

inline void test_words(std::string_view name, std::span<std::byte> bytes) {
  if (TestMessages* const test = test_messages(); test != nullptr) test->alter_words(name, bytes);
}

#else

inline void test_message(std::string_view /*name*/, std::vector<std::byte>& /*bytes*/,
                         int& /*fd*/) noexcept {}
constexpr void test_words(std::string_view /*name*/, std::span<std::byte> /*bytes*/) noexcept {}

#endif

/// The bytes of one object.
template <typename T>
std::span<std::byte> bytes_of_object(T& object) noexcept {
  return {reinterpret_cast<std::byte*>(&object), sizeof object};
}

}  // namespace cohort
