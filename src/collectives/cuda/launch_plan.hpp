#pragma once

// Which kernels a call becomes: pure, of what all members know, so that all of them launch alike.
//
// A call that finds room in its scratch is one launch. One that does not is cut into windows: of an
// all_reduce or broadcast pieces of the operand, of a gather or scatter pieces of the whole
// operand, which are uneven gathers and scatters themselves. All_reduce in two steps that is too
// large for one kernel becomes a reduce_scatter and an all_gather, which give the same bits.

#include <cstdint>
#include <span>

#include <cohort/path_table.hpp>
#include <cohort/verdict.hpp>

#include "backend/cuda/abi.hpp"
#include "base/function_ref.hpp"

namespace cohort::cuda {

/// What the devices of all ranks can do, as they have agreed at commit.
struct GridLimits {
  /// Threads of a call that run at once whatever runs in other lanes: the least DeviceShare of any
  /// rank. Fewer than kFlagLines count as that many.
  std::uint32_t resident_threads = 2048;
  /// Whose grids serve where it has any; else, and where it has none, `built_in_grid`.
  const PathTable* table = nullptr;
};

/// What one lane of one rank takes of a device at most, in threads.
struct DeviceShare {
  std::uint32_t resident;  ///< of a kernel, with up to 64 registers each
  /// Of a kernel that is brought onto the device before the one ahead of it in its stream has
  /// ended, with any number of registers.
  std::uint32_t early;
};

/// The share of each of `sharers` lanes of ranks on a device that holds `threads`. Kernels of lanes
/// that share a device may wait for each other by way of other devices, so all must find room at
/// once, and so must those that are brought early and hold their room while they wait. Who has a
/// device alone has no limits: what its kernels wait for never waits for room there.
/// Requires: `sharers` > 0.
DeviceShare device_share(std::uint64_t threads, std::uint64_t sharers) noexcept;

/// As measured on two H200 with NVLink; flat within some per cent around the optimum.
std::span<const GridStep> built_in_grid() noexcept;

/// Lines of one buffer that the call takes on the member that takes the most, with sentinels in the
/// data. `call` needs op, root, bytes, counts, algorithm and the members' count.
std::uint64_t most_scratch_lines(const KernelCall& call) noexcept;

/// Whether the call can be launched, if need be in windows: false only for all_to_all and
/// all_to_allv that are larger than what is planned.
bool can_be_launched(const KernelCall& call) noexcept;

/// The same for a call whose counts lie on the device: `call` is the form with equal parts, each as
/// large as the largest may be.
void for_each_counted_launch(const KernelCall& call, const GridLimits& limits,
                             FunctionRef<void(KernelCall&)> emit);

/// Members must agree on how a call is cut into launches and on their grids, too: the hash of
/// launch `number` of a call.
std::uint64_t launch_hash(std::uint64_t call_hash, const KernelCall& launch,
                          std::uint64_t number) noexcept;

/// Calls `emit` for each launch of `call`, whose operands, sizes, counts and members stand for the
/// whole operation: with algorithm, protocol, grid and operands of that launch, and hash and tally
/// as they were. Counts of windows are written into `counts`, which has room for one of each
/// member. Requires: `can_be_launched`.
void for_each_launch(const KernelCall& call, Path path, const GridLimits& limits,
                     std::span<std::uint64_t> counts, FunctionRef<void(KernelCall&)> emit);

}  // namespace cohort::cuda
