#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <cohort/export.hpp>
#include <cohort/ids.hpp>

namespace cohort {

/// What kind of thing went wrong. Closed: an enumerator appears with the part that needs it.
enum class ErrorCode {
  usage,          ///< the caller asked for something that makes no sense: flags, groups, sizes
  corrupt,        ///< a file or message is not what it claims to be
  unsupported,    ///< well-formed, but not something this build or machine can do
  mismatch,       ///< ranks that must agree do not: plans, calls, operands
  out_of_memory,  ///< an allocation failed
  timeout,        ///< a wait ran past its deadline; the message names the rank waited for
  peer_failed,    ///< another rank died or left
  strict_miss,    ///< strict mode: a call could not take the path that the agreed table promises
  system,         ///< the operating system refused; the message carries its reason
  cuda,           ///< a GPU or its driver refused; the message names the CUDA call and its error
  nccl,           ///< NCCL refused; the message names its call and its error
};

/// The code's stable spelling, e.g. "peer_failed". Local.
COHORT_EXPORT std::string_view to_string(ErrorCode code) noexcept;

/// The one exception type of cohort.
///
/// `what()` is the whole message for people: what, where, and what to try. `rank()` is the rank the
/// error is about (the dead, late or differing one), if there is one. `phase()` names the step,
/// e.g. "join", "commit", "load" or "all_reduce".
class COHORT_EXPORT Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, std::optional<WorldRank> rank = std::nullopt,
        std::string phase = {});

  ErrorCode code() const noexcept { return code_; }
  std::optional<WorldRank> rank() const noexcept { return rank_; }
  const std::string& phase() const noexcept { return phase_; }

  /// The command's exit code for this error: 2 for usage, corrupt and unsupported, else 1.
  int exit_code() const noexcept;

 private:
  ErrorCode code_;
  std::optional<WorldRank> rank_;
  std::string phase_;
};

}  // namespace cohort
