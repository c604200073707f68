#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <cohort/export.hpp>
#include <cohort/ids.hpp>

namespace cohort {

/// How ranks find each other: one all-gather of bytes, used only while joining.
///
/// Implemented by cohort's launcher, by ranks as threads, and by whoever already has a control
/// plane.
class COHORT_EXPORT Bootstrap {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  virtual ~Bootstrap() = default;

  virtual WorldRank rank() const noexcept = 0;
  virtual std::uint32_t world_size() const noexcept = 0;

  /// Every rank's bytes, indexed by world rank.
  /// Collective over all ranks; sizes may differ.
  /// Throws: Error{timeout} naming a missing rank, Error{peer_failed} if one is known dead.
  virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                         TimePoint deadline) = 0;

  /// The launcher's if `cohort run` (or a command's `--ranks`) started this process, torchrun's if
  /// that did so on one host, else a world of this one rank. Local.
  /// Throws: Error{usage} naming the environment variable that contradicts another.
  static std::unique_ptr<Bootstrap> from_environment();

  /// A world of one rank. Local.
  static std::unique_ptr<Bootstrap> solo();

  /// What `all_gather` promises, done by the caller's own control plane.
  using AllGather = std::function<std::vector<std::vector<std::byte>>(
      std::span<const std::byte> mine, TimePoint deadline)>;

  /// Ranks meet over what the caller already has: `all_gather` is called on every rank, equally
  /// often and in the same order. What it throws leaves `World::join` as it is. Local.
  /// Throws: Error{usage} for a rank outside the world or a function that is empty; later, from
  /// `all_gather`, for a result without one entry a rank, or whose entry of this rank is not what
  /// this rank gave.
  static std::unique_ptr<Bootstrap> from_callback(WorldRank rank, std::uint32_t world_size,
                                                  AllGather all_gather);
};

/// Runs `rank_count` ranks as threads of this process and returns when all have ended.
///
/// `body` gets each rank's bootstrap. The first exception a rank ends with is rethrown, after all
/// threads have ended; exceptions that only repeat another rank's fault come second to it. Local.
COHORT_EXPORT void run_ranks_as_threads(
    std::uint32_t rank_count, const std::function<void(std::unique_ptr<Bootstrap>)>& body);

}  // namespace cohort
