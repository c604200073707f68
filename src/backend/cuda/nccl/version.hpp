#pragma once

// What differs between versions of NCCL, and nothing else: pure functions of the version, by which
// paths are chosen, refused and explained. The facts are from NCCL's source at each release tag;
// what was also seen on devices is in docs/decisions/0019-nccl-behind-one-header.md.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

namespace cohort::cuda::nccl {

/// As NCCL counts: 10,000 x major + 100 x minor + patch.
struct Version {
  std::int32_t code = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};

constexpr Version version(std::int32_t major, std::int32_t minor, std::int32_t patch) noexcept {
  return {major * 10'000 + minor * 100 + patch};
}
/// "2.28.9"
std::string to_string(Version version);

/// The first and the last version whose source was read. What comes later is trusted with plain
/// calls only, until somebody has read it.
inline constexpr Version kOldestKnown = version(2, 28, 3);
inline constexpr Version kNewestKnown = version(2, 30, 7);

enum class Feature : std::uint8_t {
  plain_calls,          ///< communicators that do not block, all collectives that we use
  windows,              ///< symmetric kernels on registered memory
  one_operand,          ///< all_gather by its output alone, reduce_scatter by its input alone
  several_allocations,  ///< one window over more than one allocation
  null_window,          ///< no window is told as a null handle, not as one of another kind
  repeated_window,      ///< the same allocation registered twice on a communicator costs nothing
  early_predecessor,    ///< the kernel before may trigger its dependents early
  capture_windows,      ///< registration while the thread captures a graph
  unequal_windows,      ///< members may register different sizes
  offset_check,         ///< NCCL_CHECK_MODE=DEBUG_GLOBAL compares offsets between ranks
  registered_operands,  ///< a communicator may end that registered operands of its own accord
};
inline constexpr std::size_t kFeatureCount = 11;
std::string_view to_string(Feature feature) noexcept;

struct Support {
  bool supported = false;
  std::string_view reason;  ///< in words, empty if supported
};

/// Whether `feature` may be used with that version. Of versions that nobody has read only
/// `plain_calls` is supported.
Support support_of(Version version, Feature feature) noexcept;

/// A call as every member sees it: where operands lie has been agreed.
struct PathQuery {
  Op op = Op::all_reduce;
  ReduceOp reduce_op = ReduceOp::sum;
  DType dtype = DType::bf16;
  std::uint64_t bytes = 0;  ///< largest extent of an operand
  std::uint32_t members = 2;
  bool one_host = true;
  bool nvlink = true;             ///< between all members
  bool input_in_window = false;   ///< wholly, not just its first byte
  bool output_in_window = false;  ///< likewise
  bool whole_parts = true;        ///< each member's part of the call is a multiple of 4 bytes
  bool aligned = true;            ///< so are the addresses of both operands
  /// NCCL registers operands of plain calls, as it does unless its environment forbids that.
  bool registers_operands = false;
  bool reductions_allowed = false;  ///< the caller accepts sums in NCCL's order
};

/// Why NCCL is not asked for the call at all, whatever its version, or nothing.
std::string_view refusal_of_call(const PathQuery& query) noexcept;
/// The call is one that symmetric kernels get wrong, though NCCL would choose them for operands in
/// windows: those copy in whole words of 4 bytes from where an operand begins, as seen with 2.28.3
/// and 2.28.9 and not known to be mended since.
bool is_misaligned(const PathQuery& query) noexcept;
/// Why no version has a symmetric kernel for the call, wherever its operands lie, or nothing.
std::string_view obstacle_of_call(const PathQuery& query) noexcept;

enum class CallPath : std::uint8_t { refused, plain, symmetric };

struct PathAnswer {
  CallPath path = CallPath::refused;
  std::string_view reason;  ///< why it is not symmetric, empty if it is
};

/// Of a device, in bytes, as seen where they were measured: two H200, `version`.
struct MeasuredBytes {
  Version version;
  std::uint64_t first = 0;  ///< the first communicator of a process, with its window
  std::uint64_t later = 0;  ///< each later one
};

/// Which way NCCL takes the call. `symmetric` is a promise; where a version lets its own tuner
/// choose, the answer is `plain`.
PathAnswer path_of(Version version, const PathQuery& query) noexcept;

/// What communicators with windows were measured to take; one version was.
MeasuredBytes measured_bytes() noexcept;

}  // namespace cohort::cuda::nccl
