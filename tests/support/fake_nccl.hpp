#pragma once

// NCCL's table without NCCL: communicators between threads of this process, over host memory. What
// a rank's NCCL does wrong is set by that rank's thread.

#include <cstdint>
#include <string>

#include "backend/cuda/nccl/abi.hpp"

namespace cohort::test {

struct FakeNcclFaults {
  std::string missing;  ///< `load` fails with it
  std::int32_t version = 22'809;
  bool registers_operands = false;
  bool fails_to_join = false;
  bool never_joins = false;  ///< the call is made, and nothing ever comes of it
  bool fails_to_register = false;
  bool never_registers = false;
  bool gives_no_windows = false;
};

/// How often what happened in this process since the last reset.
struct FakeNcclCounts {
  std::uint32_t joined = 0;
  std::uint32_t aborted = 0;
  std::uint32_t destroyed = 0;
  std::uint32_t windows = 0;  ///< that are registered now
  std::uint32_t calls = 0;
  std::uint32_t symmetric_calls = 0;  ///< of them, those that NCCL would run on windows
  std::uint32_t marks = 0;
};

/// For this thread from now on.
void set_fake_nccl_faults(const FakeNcclFaults& faults);
void reset_fake_nccl();
FakeNcclCounts fake_nccl_counts();
const cuda::nccl::Api& fake_nccl();

}  // namespace cohort::test
