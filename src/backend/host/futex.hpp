#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace cohort::host {

/// Sleeps while `word` is `expected`, at most for `limit`. May return early for no reason. The word
/// may lie in memory shared between processes.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::chrono::nanoseconds limit) noexcept;

/// Wakes everybody who sleeps on `word`.
void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept;

}  // namespace cohort::host
