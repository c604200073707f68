#pragma once

// One cell of the fault matrix: what goes wrong, on which rank, at which step of a job that joins,
// commits, makes calls and closes.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/error.hpp>

namespace cohort::matrix {

enum class Fault : std::uint8_t {
  // at a test point
  kill,         ///< SIGKILL
  stop,         ///< SIGSTOP, resumed when all others have ended
  late,         ///< does not come back before all others have ended
  delay,        ///< comes back within the deadline: nothing may happen
  memory,       ///< an allocation of the rank's own fails
  addresses,    ///< from here on mappings fail (RLIMIT_AS)
  descriptors,  ///< from here on there are no more descriptors (RLIMIT_NOFILE)
  // of what a rank says
  plan,           ///< another plan than the others have
  digest,         ///< another plan, under the digest of the others'
  truncated,      ///< a message that ends early
  garbage,        ///< random bytes
  magic,          ///< one wrong byte at the beginning
  size,           ///< a size that cannot be
  no_descriptor,  ///< a message that should carry a descriptor, without
  other_object,   ///< the descriptor of something else
};
std::string_view to_string(Fault fault) noexcept;
std::optional<Fault> fault_from_string(std::string_view name) noexcept;
std::span<const Fault> all_faults() noexcept;

enum class Phase : std::uint8_t { join, commit, steady, close };
std::string_view to_string(Phase phase) noexcept;

/// A test point, or a message that can be altered.
struct Step {
  std::string_view name;
  Phase phase;
  bool is_message = false;
  std::uint32_t nth = 1;  ///< how often it is passed within the phase before it goes wrong
  std::optional<bool> lowest = {};  ///< only rank 0 gets there, or only the others
};
std::span<const Step> all_steps() noexcept;
/// Throws: std::invalid_argument for a name that no step has.
const Step& step_of(std::string_view name);
bool applies(Fault fault, const Step& step) noexcept;

struct FaultCase {
  Fault fault = Fault::kill;
  const Step* step = nullptr;
  std::uint32_t rank_count = 2;
  std::uint32_t victim = 0;

  /// "kill at commit.map on rank 1 of 3".
  std::string describe() const;
  /// Whether the victim takes part in the world after this one.
  bool victim_survives() const noexcept;
  std::uint32_t survivor_count() const noexcept {
    return victim_survives() ? rank_count : rank_count - 1;
  }
};

/// Every fault at every step that it applies to, on the first, the last and one rank between them.
std::vector<FaultCase> all_cases(std::span<const std::uint32_t> rank_counts);

/// How all ranks that did nothing wrong must end.
struct Expected {
  std::vector<ErrorCode> codes;  ///< one of them, the same on all; none: only well will do
  bool may_end_well = false;     ///< all of them, or those that had nothing left to wait for
  bool names_victim = true;
  std::vector<std::string_view> phases;  ///< of the error
};
Expected expected_of(const FaultCase& fault_case);

}  // namespace cohort::matrix
