#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string_view>

#include <cohort/export.hpp>

namespace cohort {

/// What a collective does.
enum class Op : std::uint8_t {
  all_reduce,
  all_gather,
  all_gatherv,
  reduce_scatter,
  reduce_scatterv,
  broadcast,
  barrier,
  all_to_all,
  all_to_allv,
  send,
  recv,
};
inline constexpr std::size_t kOpCount = 11;

/// How elements are combined. Sums run in group-rank order; min and max propagate NaN and order
/// -0 before +0; integers wrap.
enum class ReduceOp : std::uint8_t { sum, min, max };

/// Which way a call took.
enum class Path : std::uint8_t {
  local,           ///< a group of one rank: nothing to exchange
  host_inline,     ///< the operand travelled with the header
  host_direct,     ///< peers read the operand where it lies in the arena
  host_staged,     ///< every rank copied its operand into the staging ring first
  gpu_ll,          ///< pushed to the peers' scratch, every 8 bytes with a flag of their own
  gpu_lamport,     ///< pushed to the peers' scratch; what is not the sentinel has arrived
  gpu_two_shot,    ///< the same twice: each member reduces a part, then passes it on
  nccl_symmetric,  ///< a symmetric kernel of NCCL's, on operands in the arena
  nccl_plain,      ///< any other kernel of NCCL's
};
inline constexpr std::size_t kPathCount = 9;

/// Why a call took its path.
enum class Reason : std::uint8_t {
  ok,                    ///< the path that the agreed table promises
  group_size_one,        ///< the group has one rank
  disabled,              ///< symmetric memory is switched off in the plan or the scope
  operand_not_in_heap,   ///< this rank's operand lies outside the arena: staged, or not for NCCL
  dtype_unsupported,     ///< the operation is not defined for the type: the call is refused
  over_budget,           ///< an operand lies in a block that its pool had no room for, on all ranks
  over_inline_limit,     ///< the pinned path takes small operands only, and this one is larger
  op_unsupported,        ///< the pinned path has no such operation
  nccl_version_refused,  ///< NCCL's version, environment or devices rule out the path on NCCL
  operand_misaligned,    ///< NCCL's symmetric kernels are wrong for operands of no whole words
};
inline constexpr std::size_t kReasonCount = 10;

/// Path and reason, equal on all ranks of the group.
struct PathChoice {
  Path path = Path::local;
  Reason reason = Reason::ok;
  friend bool operator==(const PathChoice&, const PathChoice&) = default;
};

/// Which path one call took on this rank, why, and how many bytes it had to copy into staging.
struct [[nodiscard]] Verdict {
  Path path = Path::local;
  Reason reason = Reason::ok;
  std::size_t copied_bytes = 0;
  friend bool operator==(const Verdict&, const Verdict&) = default;
};

COHORT_EXPORT std::string_view to_string(Op op) noexcept;
COHORT_EXPORT std::string_view to_string(ReduceOp op) noexcept;
COHORT_EXPORT std::string_view to_string(Path path) noexcept;
COHORT_EXPORT std::string_view to_string(Reason reason) noexcept;
/// The reason as a sentence for people, with what to do about it.
COHORT_EXPORT std::string_view explain(Reason reason) noexcept;
COHORT_EXPORT std::ostream& operator<<(std::ostream& stream, const Verdict& verdict);

}  // namespace cohort
