#pragma once

// Starts ranks as processes of this host and stays with them until all have ended.
//
// What a user may rely on:
//   1. No rank outlives the launcher, however it ends: ranks get SIGKILL with it.
//   2. When a rank fails, the others get time to end by themselves (they know: its fault is in
//      their shared memory), then SIGTERM, then SIGKILL. A stopped rank is ended last, so that the
//      others have named it before.
//   3. SIGINT and SIGTERM end all ranks.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>
#include <cohort/ids.hpp>

#include "rendezvous/launched_rank.hpp"

namespace cohort {

enum class RankOutput {
  inherit,  ///< goes where the launcher's goes
  discard,
  prefix,  ///< line by line with "[rank 2] " before it
};

struct LaunchOptions {
  std::uint32_t rank_count = 1;
  std::vector<std::string> arguments;  ///< of every rank, the program's name first
  std::string program;                 ///< path; empty: arguments[0], looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment;  ///< added to this process's
  RankOutput other_output = RankOutput::inherit;  ///< standard output of all ranks but rank 0
  RankOutput errors = RankOutput::inherit;        ///< standard error of all ranks
  bool output_to_errors = false;                  ///< standard output goes where errors go
  std::chrono::milliseconds grace{5000};          ///< for the others, once a rank has failed
  std::chrono::milliseconds kill_after{2000};     ///< from SIGTERM to SIGKILL
};

/// How one rank ended.
struct RankEnd {
  int exit_code = 0;               ///< 0 if a signal ended it
  int signal = 0;                  ///< 0 if it ended by itself
  bool ended_by_launcher = false;  ///< it was sent a signal before it ended
  std::uint32_t order = 0;         ///< ranks seen to end at the same moment share a number
  std::optional<Error> report;     ///< what it told the launcher it ends with
  std::optional<int> exec_errno;   ///< why its program could not be started

  bool failed() const noexcept { return exit_code != 0 || signal != 0; }
};

struct LaunchResult {
  /// 0 if all ranks ended with 0; 128 + signal if the launcher was told to end; else 2 where the
  /// first rank to fail says so, else 1.
  int exit_code = 0;
  /// The job's one error: which rank, how it ended, and what another was waiting for. None if all
  /// went well or the launcher was told to end.
  std::optional<Error> fault;
  std::vector<RankEnd> ranks;  ///< by world rank
};

/// Runs a program on `rank_count` ranks and returns when all have ended. Rank 0 keeps this
/// process's standard input and output; the others read nothing. Ranks die with the calling thread.
/// Local. Throws: Error{usage} for no ranks or too many, Error{system}.
LaunchResult launch(const LaunchOptions& options);

/// Runs this very command line on `rank_count` ranks: in them `started_by_launcher()` is true.
LaunchResult launch_self(std::uint32_t rank_count, int argument_count,
                         const char* const* arguments);

namespace rendezvous {

/// The job's exit code and fault, from how its ranks ended. Pure.
LaunchResult conclude(std::vector<RankEnd> ranks, const std::string& program,
                      std::optional<int> interrupted_by);

/// "rank 2 died of signal 9 (Killed)" or "rank 2 ended with exit code 3". Pure.
std::string describe_end(WorldRank rank, const RankEnd& end);

}  // namespace rendezvous
}  // namespace cohort
