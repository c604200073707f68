#pragma once

// What this process can find out about its machine without other ranks.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/system_limits.hpp"

namespace cohort::check {

/// A limit of this process (`ulimit`); nothing is unlimited.
struct ProcessLimit {
  std::optional<std::uint64_t> now;  ///< what holds
  std::optional<std::uint64_t> max;  ///< how far this user may raise it
};

/// A system call that was tried: the reason of its refusal, or 0.
struct Attempt {
  int refused_errno = 0;
};

/// Texts are empty and numbers absent where the system does not say.
struct HostFacts {
  std::string kernel_release;
  std::string clock_source;            ///< "tsc"
  std::optional<bool> has_steady_tsc;  ///< the CPU says that its counter never changes its pace
  double clock_read_ns = 0;            ///< what reading the clock takes
  std::uint32_t online_cpus = 0;       ///< of the machine
  std::uint32_t allowed_cpus = 0;      ///< in this process's affinity mask
  std::uint32_t usable_cpus = 1;       ///< the same, cut by a CPU quota
  std::uint32_t allowed_cores = 0;     ///< that the allowed CPUs are threads of; 0 is unknown
  std::uint32_t allowed_nodes = 0;     ///< memory nodes of the allowed CPUs; 0 is unknown
  std::optional<AvailableMemory> memory;
  std::optional<std::size_t> startable_processes;  ///< and threads; nothing without a limit
  std::string shared_huge_pages;                   ///< "never"
  ProcessLimit open_files;
  ProcessLimit address_space_bytes;
  ProcessLimit file_bytes;
  ProcessLimit locked_bytes;
  std::uint32_t inherited_descriptors = 3;    ///< open ones that ranks will have, too
  std::uint64_t own_address_bytes = 0;        ///< that this process uses now
  Attempt memfd;                              ///< memfd_create, sized and sealed
  Attempt pidfd;                              ///< pidfd_open
  std::optional<std::uint64_t> seccomp_mode;  ///< 2 is a filter
  std::optional<std::uint64_t> yama_scope;    ///< of ptrace; nothing without Yama
};

/// Local; takes a few milliseconds and leaves nothing behind.
HostFacts read_host_facts();

}  // namespace cohort::check
