#pragma once

namespace cohort::detail {

/// Prints where and what to standard error and aborts.
[[noreturn]] void assertion_failed(const char* file, int line, const char* condition,
                                   const char* message) noexcept;

}  // namespace cohort::detail

/// Ends the process if a programmer's assumption is wrong: in every build, so keep it cheap. Never
/// for input, files or what a peer sent: those get an Error.
#define COHORT_ASSERT(condition, message) \
  (static_cast<bool>(condition)           \
       ? static_cast<void>(0)             \
       : ::cohort::detail::assertion_failed(__FILE__, __LINE__, #condition, message))

/// The same where it costs something: only in debug builds and with COHORT_ASSERTIONS.
#if defined(COHORT_ASSERTIONS) || !defined(NDEBUG)
#define COHORT_DASSERT(condition, message) COHORT_ASSERT(condition, message)
#else
#define COHORT_DASSERT(condition, message) static_cast<void>(sizeof(static_cast<bool>(condition)))
#endif
