#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>
#include <cohort/export.hpp>
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
  std::chrono::milliseconds stall{1'000};    ///< after this long the health record names the rank
  double scale = 1.0;
};

/// All ranks of a job, met and able to see each other's faults. Move-only.
///
/// Thread safety: one thread per rank; `check` and `fail` may be called from any thread.
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

  host::Domain& domain() noexcept { return *domain_; }

 private:
  explicit World(std::shared_ptr<host::Domain> domain);
  std::shared_ptr<host::Domain> domain_;
};

}  // namespace cohort
