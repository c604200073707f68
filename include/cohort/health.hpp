#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/error.hpp>
#include <cohort/export.hpp>
#include <cohort/ids.hpp>
#include <cohort/layout.hpp>

namespace cohort {

/// What a rank is doing, as shared memory shows it.
enum class RankActivity : std::uint8_t {
  joining,  ///< not through `World::join` yet
  joined,   ///< in no wait, and nothing committed yet
  working,  ///< in no wait: it computes, or is in a call that does not have to wait
  waiting,  ///< for another rank
  stalled,  ///< waiting for longer than the stall limit, for a rank that is not idle
  idle,     ///< waiting for outside work, as it says: see `World::idle`
  left,     ///< ended in order
  dead,     ///< its process or connection ended without a word
};
inline constexpr std::size_t kRankActivityCount = 8;

/// The one wait that a rank is in.
struct RankWait {
  WorldRank rank;         ///< waited for
  double waited_s = 0;    ///< so far
  bool for_idle = false;  ///< it, or a rank that it waits for in turn, is idle
  std::string subject{};  ///< e.g. "all_reduce ... on tp [0, 1], call 17"; empty in a short wait
};

/// The calls that a rank has begun on one lane of its group of a kind.
struct CallCount {
  GroupKind group = GroupKind::world;
  Lane lane{};
  std::uint64_t sequence = 0;
};

/// What one rank was doing.
struct RankHealth {
  WorldRank rank{};
  RankActivity activity = RankActivity::joining;
  std::int64_t pid = 0;  ///< as the rank itself sees it; 0 while it joins
  bool stopped = false;  ///< its process is stopped, by a signal or a debugger
  std::optional<RankWait> wait{};
  std::optional<double> idle_s{};  ///< for how long it has been idle
  std::uint32_t generation = 0;    ///< the newest plan it knows to be committed; 0 is none
  std::uint64_t stalls = 0;        ///< waits of this rank that went past the stall limit
  double stalled_s = 0;            ///< how long those that have ended took
  std::optional<WorldRank> last_stalled_on{};  ///< whom the last of them was for
  std::vector<CallCount> calls{};              ///< of the groups it has called, by kind and lane
};

/// The whole job at a glance.
enum class HealthVerdict : std::uint8_t {
  healthy,
  stalled,  ///< a rank is stalled or its process is stopped
  failed,   ///< there is a fault, or a rank is dead
  ended,    ///< all ranks have left in order
};
inline constexpr std::size_t kHealthVerdictCount = 4;

/// What a job's ranks were doing at one moment. A value: it stays as it is.
struct Health {
  double taken_at_s = 0;         ///< seconds since 1970, by the system's clock
  double stall_limit_s = 0;      ///< WaitLimits::stall, scaled
  std::uint32_t generation = 0;  ///< the newest that any rank knows to be committed
  std::optional<Error> fault{};  ///< the job's first fault
  std::vector<RankHealth> ranks{};

  COHORT_EXPORT HealthVerdict verdict() const noexcept;
};

COHORT_EXPORT std::string_view to_string(RankActivity activity) noexcept;
COHORT_EXPORT std::string_view to_string(HealthVerdict verdict) noexcept;
/// The inverses, or nothing.
COHORT_EXPORT std::optional<RankActivity> rank_activity_from_string(std::string_view name) noexcept;

/// A few lines for people, one for each rank. Local.
COHORT_EXPORT std::string to_text(const Health& health);
/// One JSON document on one line, {"schema": 1, "version": ...}; docs/health.md names its fields.
COHORT_EXPORT std::string to_json(const Health& health);

}  // namespace cohort
