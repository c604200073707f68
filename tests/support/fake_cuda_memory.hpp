#pragma once

// The memory half of a plugin without a GPU: a device's memory is a memory object, its addresses
// are the process's own, and what the table promises of the real one holds here too.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

struct Device {
  std::uint32_t index;
};

}  // namespace cohort::cuda

namespace cohort::test {

inline constexpr std::size_t kFakeGranuleBytes = 64 * 1024;

/// How the fake devices of this process are and what goes wrong with them. All ranks of a process
/// share it: set it before they start.
struct FakeCuda {
  std::atomic<std::uint32_t> devices = 4;
  std::atomic<const char*> name = "fake";
  /// Bytes that `create` has; what is over that is out_of_memory.
  std::atomic<std::size_t> memory_bytes = std::size_t{1} << 30;
  /// Devices with this bit unequal cannot reach each other.
  std::atomic<std::uint32_t> island_bit = 0;
  /// What was last asked for by `limit_early`.
  std::atomic<std::uint32_t> early_threads = ~0U;
  /// "map", "import_fd", ...: the function that fails from now on; null for none.
  std::atomic<const char*> failing = nullptr;

  /// What is taken and not given back.
  std::atomic<std::int64_t> open_devices = 0;
  std::atomic<std::int64_t> taken_bytes = 0;  ///< of own memory
  std::atomic<std::int64_t> handles = 0;
  std::atomic<std::int64_t> mapped_bytes = 0;
  std::atomic<std::int64_t> reserved_bytes = 0;
};
FakeCuda& fake_cuda();

/// Sets every function of the table that has to do with devices and memory.
void set_memory_functions(cuda::Api& api);

}  // namespace cohort::test
