#pragma once

// What this machine, container or task set lets the process use.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace cohort {

/// CPUs that this process may run on at the same time: its affinity mask, cut by a CPU quota.
std::uint32_t usable_cpu_count();

/// Memory that can be taken before the system starts to kill processes.
struct AvailableMemory {
  std::size_t bytes = 0;
  std::string limited_by;  ///< "the machine's free memory" or "the memory limit of the container"
};
/// Nothing where the system does not say.
std::optional<AvailableMemory> available_memory();

/// Processes and threads that the container may still start. Nothing where it has no such limit.
std::optional<std::size_t> startable_processes();

/// Whether a process is stopped by a signal or a debugger. False where that is not visible.
bool process_is_stopped(std::int64_t pid);

}  // namespace cohort
