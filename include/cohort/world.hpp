#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>
#include <cohort/export.hpp>
#include <cohort/health.hpp>
#include <cohort/ids.hpp>

namespace cohort {

namespace host {
class Domain;
}

/// Times of every wait. `scale` multiplies all of them, for profilers, sanitizers and slow
/// machines.
struct WaitLimits {
  std::chrono::milliseconds setup{30'000};   ///< join, commit, close
  std::chrono::milliseconds steady{10'000};  ///< a wait inside a collective or `take`
  /// After this long a wait counts and is logged as a stall; while ranks set up, after `steady`.
  std::chrono::milliseconds stall{1'000};
  double scale = 1.0;
};

/// Says, as long as it lives, that this rank waits for outside work. Move-only; may outlive its
/// world.
class COHORT_EXPORT Idle {
 public:
  Idle(Idle&&) noexcept = default;
  Idle& operator=(Idle&& other) noexcept;
  ~Idle();

 private:
  friend class World;
  explicit Idle(const std::shared_ptr<host::Domain>& domain) noexcept;
  void end() noexcept;
  std::weak_ptr<host::Domain> domain_;
};

/// All ranks of a job, met and able to see each other's faults. Move-only.
///
/// If the environment variable COHORT_HEALTH_FILE is set, what `health` tells is written to that
/// file every half second, by one of the ranks: see docs/health.md.
///
/// Thread safety: one thread per rank; `check`, `fail`, `health` and `idle` may be called from any
/// thread.
class COHORT_EXPORT World {
 public:
  /// Meets all ranks: exchanges addresses and maps the control memory.
  /// Collective over all ranks.
  /// Throws: Error{timeout, peer_failed} naming the rank, Error{mismatch} if ranks run different
  /// versions, Error{system}.
  static World join(std::unique_ptr<Bootstrap> bootstrap, const WaitLimits& limits = {});

  World(World&&) noexcept;
  World& operator=(World&&) noexcept;
  /// Leaves, once the last session of this world is gone too. A rank that leaves while others still
  /// wait for it shows up there as peer_failed.
  ~World();

  WorldRank rank() const noexcept;
  std::uint32_t size() const noexcept;
  const WaitLimits& limits() const noexcept;

  /// Throws the job's fault if any rank has failed; use it inside long local work. `doing` says
  /// what this rank was at, e.g. "loading layer 3", and ends the message. Local.
  void check(std::string_view doing = {}) const;

  /// Publishes this rank's error as the job's fault, unless there already is one, so that every
  /// other rank ends with the same code and text. Local; wakes everybody.
  void fail(const Error& error) noexcept;

  /// What all ranks are doing now, and the job's fault if there is one. Local, never waits, touches
  /// no rank, so it may be asked about ranks that are stuck. Cost: some microseconds a rank.
  Health health() const;

  /// Marks this rank as idle: it waits for outside work, e.g. the next request. As long as it does,
  /// a rank that waits for it, directly or through others, is not stalled and has no deadline; a
  /// rank that dies or fails still ends that wait. The same holds for this rank's own waits. A rank
  /// whose process is stopped is not idle. Marks nest. Local.
  [[nodiscard]] Idle idle();

  host::Domain& domain() noexcept { return *domain_; }  ///< For cohort itself.

 private:
  explicit World(std::shared_ptr<host::Domain> domain);
  std::shared_ptr<host::Domain> domain_;
};

}  // namespace cohort
