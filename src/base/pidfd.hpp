#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/unique_fd.hpp"

namespace cohort {

/// A descriptor that becomes readable when the process ends; none where the system refuses.
/// By its number: glibc 2.36 declares the function without C linkage.
inline UniqueFd open_pidfd(pid_t pid) noexcept {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

}  // namespace cohort
