#pragma once

// The rank's side of the launcher's protocol.

#include <cstdint>
#include <functional>
#include <optional>

#include <cohort/error.hpp>
#include <cohort/ids.hpp>

namespace cohort {

/// Whether this process is a rank that `launch` started. Local.
/// Throws: Error{usage} naming the variable of the environment that contradicts another.
bool started_by_launcher();

/// Tells the launcher what this rank ends with, so that it can print one line for all ranks. False
/// if there is no launcher to tell: then it is the caller's to print. Local.
bool report_error(const Error& error) noexcept;

namespace rendezvous {

/// Who this process is, by its environment.
struct RankEnvironment {
  WorldRank rank;
  std::uint32_t rank_count = 1;
  int socket = -1;
};

/// Nothing if none of the variables is set.
/// Throws: Error{usage} naming the variable that is missing, malformed or contradicts another.
std::optional<RankEnvironment> parse_rank_environment(
    const std::function<const char*(const char*)>& lookup);

}  // namespace rendezvous
}  // namespace cohort
