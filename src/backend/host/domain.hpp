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
#include <cohort/health.hpp>
#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/world.hpp>

#include "backend/host/commit_word.hpp"
#include "base/function_ref.hpp"
#include "base/test_point.hpp"
#include "base/unique_fd.hpp"

namespace cohort::host {

/// What a wait is about, for messages: "all_reduce on attn_cp [0, 2] lane 0, call 17".
struct WaitSubject {
  std::string_view phase;  ///< goes into Error::phase()
  std::string text;        ///< what this rank was doing
};

/// What a rank is waiting for, as it last said.
struct Waiting {
  WorldRank peer;
  std::chrono::steady_clock::time_point since;
  std::string subject;  ///< empty while the wait is short
  bool stalled = false;
};

/// What knows which calls ranks have made, for the text of a timeout.
class CallHistory {
 public:
  virtual ~CallHistory() = default;
  /// "last calls of rank 3: tp [0, 1, 2, 3] lane 0 call 7 barrier, lane 1 none"; empty if it knows
  /// nothing of that rank. Local, and while that rank goes on with its calls.
  virtual std::string last_calls_of(WorldRank rank) const = 0;
};

class WaitMark;

class Domain : public std::enable_shared_from_this<Domain> {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// Collective over all ranks of `bootstrap`.
  static std::shared_ptr<Domain> join(Bootstrap& bootstrap, const WaitLimits& limits);
  /// Leaves: whoever still waits for this rank is told, nobody else notices. Local.
  ~Domain();
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  WorldRank rank() const noexcept { return rank_; }
  std::uint32_t rank_count() const noexcept { return rank_count_; }
  const WaitLimits& limits() const noexcept { return limits_; }

  /// `now + limit * scale`.
  TimePoint deadline_after(std::chrono::milliseconds limit) const noexcept;

  // --- faults -------------------------------------------------------------------------------

  bool poisoned() const noexcept { return poison_->load(std::memory_order_acquire) != 0; }
  /// Throws the domain's fault if there is one; `doing` is appended as what this rank was at,
  /// `phase` is the error's where the fault itself has none.
  void check(std::string_view doing = {}, std::string_view phase = {}) const;
  /// Claims the fault record (the first caller of the domain wins), poisons, wakes everybody.
  void publish_fault(const Error& error) noexcept;
  /// `publish_fault`, then throws the domain's fault: this error or the one that came first.
  [[noreturn]] void fail(const Error& error);

  // --- waiting ------------------------------------------------------------------------------

  /// Waits until `ready()` for something that `peer` must do. Spins while every rank has a CPU,
  /// yields a bounded number of rounds otherwise, then sleeps on the peer's bell.
  /// Throws: the domain's fault; past `limit` publishes and throws Error{timeout} naming the rank
  /// at the end of the chain of waits, with its last calls, or those of all ranks that wait for
  /// each other; if `peer` left, publishes and throws Error{peer_failed}.
  /// While this rank is idle, or `peer` or a rank that it waits for in turn, the limit does not
  /// run.
  template <typename Ready, typename Subject>
  void wait_for(WorldRank peer, std::chrono::milliseconds limit, const Ready& ready,
                const Subject& subject) {
    for (std::uint32_t spin = 0; spin <= spin_count_; ++spin) {
      if (ready()) return;
      if (time_is_simulated()) break;
      pause();
    }
    wait_slowly(peer, limit, FunctionRef<bool()>(ready), FunctionRef<WaitSubject()>(subject));
  }

  /// The same without spinning or yielding, until a point in time: for set-up. Returns that point,
  /// later than `deadline` if the wait was for an idle rank.
  TimePoint wait_until(WorldRank peer, TimePoint deadline, FunctionRef<bool()> ready,
                       FunctionRef<WaitSubject()> subject);

  /// From now on this rank waits for outside work: nobody's wait for it is a stall or runs out of
  /// time. Marks nest. Local; any thread.
  void begin_idle() noexcept;
  void end_idle() noexcept;

  /// Rings this rank's bell: call it after publishing (sequentially consistent) a word that peers
  /// may be asleep on. One load when nobody sleeps.
  void wake() noexcept {
    if (sleepers_->load(std::memory_order_seq_cst) != 0) ring();
  }

  /// From now on timeouts tell what `history` knows. By this rank's thread.
  void add_history(const CallHistory& history);
  void remove_history(const CallHistory& history) noexcept;

  /// What a rank has been waiting for since longer than a few microseconds. Local; any thread.
  std::optional<Waiting> waiting(WorldRank rank) const;

  // --- health -------------------------------------------------------------------------------

  /// What all ranks are doing now. Local, never waits; any thread.
  Health health() const;
  /// Where this rank says how many calls it has begun on a lane. Requires: lane < kLanesTold.
  std::atomic<std::uint64_t>& call_word(GroupKind kind, Lane lane) const noexcept;

  // --- set-up exchanges (none of them in a steady step) ---------------------------------------

  /// Every rank's bytes by world rank. Collective over the domain; sizes may differ.
  /// Throws: as `wait_for`; Error{mismatch} if a rank is in an exchange of another `phase`.
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                 std::string_view phase, TimePoint deadline);
  /// Every rank's descriptor, duplicated into this process. Collective over the domain.
  std::vector<UniqueFd> all_gather_fd(int fd, std::string_view phase, TimePoint deadline);
  /// Decides the outcome of a generation: a rank that is ready counts itself; who sees all ready
  /// swaps pending to committed, who is not ready or expires swaps pending to aborted; all obey
  /// what they then read. Collective over the domain, but never waits for a rank past `deadline`.
  /// Generations are decided in order, beginning with 1.
  /// Throws: Error{usage} if `generation` does not follow the last one.
  CommitOutcome decide(std::uint32_t generation, bool ready, TimePoint deadline);
  /// The generation that follows the last one this rank was ready for: equal on all ranks. Local.
  std::uint32_t next_generation() const noexcept;

  /// Why a generation was aborted, as the rank that did so noted it. Local, waits a moment.
  Error abort_cause(std::uint32_t generation, std::string_view phase = "recommit") const;

  // --- attempts: a new generation while an old one lives ----------------------------------------
  //
  // Between `begin_attempt` and its end set-up exchanges that fail do not poison: a rank that
  // cannot go on, or waits past its deadline, aborts the attempt, and every other rank leaves it
  // with that rank's error, even one that comes to it later. Deaths poison as ever.

  /// Begins the next generation on this rank and returns its number. Local.
  /// Throws: the attempt's error if other ranks have already given it up.
  std::uint32_t begin_attempt();
  /// Commits the attempt: returns once all ranks are ready, which ends it.
  /// Throws: the attempt's error; it has not ended then.
  void conclude_attempt(TimePoint deadline);
  /// Aborts the attempt unless another rank has done so, ends it on this rank and throws the
  /// attempt's error: of whoever was first. Of a poisoned domain throws the fault.
  [[noreturn]] void abort_attempt(const Error& error);

  // --- memory -------------------------------------------------------------------------------

  /// Bytes of the control segment charged to this rank (the creator; 0 elsewhere).
  std::size_t control_bytes() const noexcept;
  /// Announces bytes this rank is about to take from the system, 0 when done, so that ranks which
  /// allocate at the same time count each other in. Local.
  void set_pending_bytes(std::size_t bytes) noexcept;
  /// The sum over all ranks. Local.
  std::size_t pending_bytes() const noexcept;

 private:
  struct State;

  Domain(WorldRank rank, std::uint32_t rank_count, const WaitLimits& limits);
  void meet(Bootstrap& bootstrap);
  void open_control_segment(TimePoint deadline);
  UniqueFd receive_control_fd(TimePoint deadline) const;
  void check_joining_peers() const;
  void share_control_fd(WorldRank peer, int fd) const;
  [[noreturn]] void fail_gone(WorldRank peer) const;
  [[noreturn]] void fail_wait(const Error& error, std::string_view doing);
  void begin_generation(std::uint32_t generation) noexcept;
  void settle_generation(std::uint32_t generation, CommitOutcome outcome) noexcept;
  void note_abort(std::uint32_t generation, const Error& error) noexcept;
  void check_attempt() const;
  void end_attempt() noexcept;
  UniqueFd receive_fd(WorldRank from, std::string_view phase, TimePoint deadline);
  static void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
  }
  void wait_slowly(WorldRank peer, std::chrono::milliseconds limit, FunctionRef<bool()> ready,
                   FunctionRef<WaitSubject()> subject);
  void ring() noexcept;
  void ring_everybody() noexcept;
  bool publish(const Error& error) noexcept;
  void mark_ended(WorldRank peer) noexcept;
  Error fault(std::string_view doing, std::string_view phase) const;
  bool sleep_once(WorldRank peer, TimePoint until, FunctionRef<bool()> ready) noexcept;
  void check_wait(WorldRank peer, FunctionRef<bool()> ready, FunctionRef<WaitSubject()> subject);
  TimePoint wait_watched(WorldRank peer, TimePoint deadline, FunctionRef<bool()> ready,
                         FunctionRef<WaitSubject()> subject, TimePoint::duration stall);
  TimePoint::duration scaled(std::chrono::milliseconds limit) const noexcept;
  bool look_at(WaitMark& mark, FunctionRef<WaitSubject()> subject, TimePoint::duration stall);
  TimePoint::duration setup_stall() const noexcept;
  bool is_idle(WorldRank rank) const;
  bool waits_for_outside(WorldRank peer) const;
  RankHealth health_of(WorldRank rank, TimePoint now) const;
  void open_health_file();
  struct Chain;
  Chain follow_waits(WorldRank peer) const;
  Error late(WorldRank peer, TimePoint started, const WaitSubject& subject) const;
  std::string last_calls_of(std::span<const WorldRank> ranks) const;

  WorldRank rank_;
  std::uint32_t rank_count_ = 1;
  std::uint32_t spin_count_ = 0;
  std::uint32_t yield_count_ = 0;
  WaitLimits limits_;
  const std::atomic<std::uint32_t>* poison_ = nullptr;  // in the control segment
  std::atomic<std::uint32_t>* sleepers_ = nullptr;      // in the control segment, this rank's
  std::unique_ptr<State> state_;
};

}  // namespace cohort::host
