#pragma once

#include <cstddef>
#include <cstdint>

#include "base/function_ref.hpp"

namespace cohort {

/// Threads that a rank may use: the CPUs of this process shared by the ranks of the host, at least
/// one. Local.
std::uint32_t compute_threads_for(std::uint32_t ranks_on_host) noexcept;

/// Sets how many threads matrix products and `parallel_for` use when called from this thread.
/// Local.
void set_compute_threads(std::uint32_t thread_count) noexcept;

/// Calls `body(i)` for each i below `count`, on the threads set; returns when all are done.
/// `body` must not throw. Local.
void parallel_for(std::size_t count, FunctionRef<void(std::size_t)> body) noexcept;

}  // namespace cohort
