#pragma once

// One rank's membership in a host domain: ranks that share memory.
//
// What it owns: the mapping of the control segment (one memory object per domain, created by the
// lowest rank at join), the control sockets, and a share in the process's monitor thread.
// Invariants:
//   1. The first fault wins: once the fault record is written it never changes, and every rank that
//      fails afterwards throws that record's code and text.
//   2. The poison word is set after the record is complete, and never cleared.
//   3. Every wait polls the poison word and ends by its deadline.
// Thread safety: one thread per rank for everything that waits; `check`, `publish_fault` and `wake`
// from any thread.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>
#include <cohort/ids.hpp>
#include <cohort/world.hpp>

#include "base/function_ref.hpp"

namespace cohort::host {

/// An owned file descriptor; -1 is none.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept;
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd();
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// What a wait is about, for messages: "all_reduce on attn_cp [0, 2], call 17".
struct WaitSubject {
  std::string_view phase;  ///< goes into Error::phase()
  std::string text;        ///< what this rank was doing
};

enum class CommitOutcome : std::uint8_t { committed, aborted };

class Domain {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// Collective over all ranks of `bootstrap`.
  static std::shared_ptr<Domain> join(Bootstrap& bootstrap, const WaitLimits& limits);
  virtual ~Domain();

  WorldRank rank() const noexcept { return rank_; }
  std::uint32_t rank_count() const noexcept { return rank_count_; }
  const WaitLimits& limits() const noexcept { return limits_; }

  /// `now + limit * scale`.
  TimePoint deadline_after(std::chrono::milliseconds limit) const noexcept;

  // --- faults -------------------------------------------------------------------------------

  bool poisoned() const noexcept { return poison_->load(std::memory_order_acquire) != 0; }
  /// Throws the domain's fault if there is one; `doing` is appended as what this rank was at.
  void check(std::string_view doing = {}) const;
  /// Claims the fault record (the first caller of the domain wins), poisons, wakes everybody.
  void publish_fault(const Error& error) noexcept;
  /// `publish_fault`, then throws the domain's fault: this error or the one that came first.
  [[noreturn]] void fail(const Error& error);

  // --- waiting ------------------------------------------------------------------------------

  /// Waits until `ready()` for something that `peer` must do. Spins while every rank has a CPU,
  /// yields a bounded number of rounds otherwise, then sleeps on the peer's bell.
  /// Throws: the domain's fault; past `deadline` publishes and throws Error{timeout} naming `peer`;
  /// if `peer` left, publishes and throws Error{peer_failed}.
  template <typename Ready, typename Subject>
  void wait_for(WorldRank peer, std::chrono::milliseconds limit, const Ready& ready,
                const Subject& subject) {
    for (std::uint32_t spin = 0; spin <= spin_count_; ++spin) {
      if (ready()) return;
      pause();
    }
    wait_slowly(peer, limit, FunctionRef<bool()>(ready), FunctionRef<WaitSubject()>(subject));
  }

  /// Rings this rank's bell: call it after publishing (sequentially consistent) a word that peers
  /// may be asleep on. One load when nobody sleeps.
  void wake() noexcept {
    if (sleepers_->load(std::memory_order_seq_cst) != 0) ring();
  }

  // --- set-up exchanges (none of them in a steady step) ---------------------------------------

  /// Every rank's bytes by world rank. Collective over the domain; sizes may differ.
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                 std::string_view phase, TimePoint deadline);
  /// Every rank's descriptor, duplicated into this process. Collective over the domain.
  std::vector<UniqueFd> all_gather_fd(int fd, std::string_view phase, TimePoint deadline);
  /// Decides the outcome of a generation: a rank that is ready counts itself; who sees all ready
  /// swaps pending to committed, who is not ready or expires swaps pending to aborted; all obey
  /// what they then read. Collective over the domain, but never waits for a rank past `deadline`.
  CommitOutcome decide(std::uint32_t generation, bool ready, TimePoint deadline);

  /// Bytes of the control segment charged to this rank (the creator; 0 elsewhere).
  std::size_t control_bytes() const noexcept;

 protected:
  Domain() = default;
  static void pause() noexcept;
  void wait_slowly(WorldRank peer, std::chrono::milliseconds limit, FunctionRef<bool()> ready,
                   FunctionRef<WaitSubject()> subject);
  void ring() noexcept;

  WorldRank rank_;
  std::uint32_t rank_count_ = 1;
  std::uint32_t spin_count_ = 0;
  WaitLimits limits_;
  const std::atomic<std::uint32_t>* poison_ = nullptr;  // in the control segment
  std::atomic<std::uint32_t>* sleepers_ = nullptr;      // in the control segment, this rank's
};

}  // namespace cohort::host
