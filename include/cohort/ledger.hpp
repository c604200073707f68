#pragma once

#include <cstdint>
#include <vector>

#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/verdict.hpp>

namespace cohort {

/// Calls and bytes of one (group instance, operation, path, reason), as this rank saw them.
struct LedgerRow {
  GroupKind group = GroupKind::world;
  std::vector<WorldRank> ranks;
  Op op = Op::barrier;
  Path path = Path::local;
  Reason reason = Reason::ok;
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;         ///< operand bytes passed in, before staging
  std::uint64_t copied_bytes = 0;  ///< copied into staging
  double transfer_s = 0;           ///< moving and reducing; of calls on CUDA memory always 0, as
                                   ///< kernels count calls and bytes and do not look at clocks
  double wait_s = 0;               ///< waiting for peers to arrive; on CUDA memory 0 likewise
};

}  // namespace cohort
