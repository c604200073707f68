// Threads come from OpenMP, whose pool the matrix products use anyway. ThreadSanitizer cannot see
// the OpenMP library's synchronisation, so builds with it stay on the caller's thread.

#include "model/parallel.hpp"

#include <sched.h>

#include <algorithm>

#if !defined(COHORT_THREAD_SANITIZER)
#include <omp.h>
#endif

namespace cohort {

std::uint32_t compute_threads_for(std::uint32_t ranks_on_host) noexcept {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  int cpu_count = 1;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) cpu_count = CPU_COUNT(&allowed);
  return std::max(1U, static_cast<std::uint32_t>(cpu_count) / std::max(1U, ranks_on_host));
}

#if defined(COHORT_THREAD_SANITIZER)

void set_compute_threads(std::uint32_t /*thread_count*/) noexcept {}

void parallel_for(std::size_t count, FunctionRef<void(std::size_t)> body) noexcept {
  for (std::size_t i = 0; i < count; ++i) body(i);
}

#else

void set_compute_threads(std::uint32_t thread_count) noexcept {
  omp_set_num_threads(static_cast<int>(thread_count));
}

void parallel_for(std::size_t count, FunctionRef<void(std::size_t)> body) noexcept {
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < count; ++i) body(i);
}

#endif

}  // namespace cohort
