// The slow half of every wait: what happens once spinning has not helped.

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "backend/host/domain_state.hpp"
#include "backend/host/futex.hpp"
#include "backend/host/wait_mark.hpp"
#include "base/checks.hpp"
#include "base/log.hpp"
#include "base/system_limits.hpp"
#include "base/test_point.hpp"

namespace cohort::host {
namespace {

using std::chrono::steady_clock;

// Every sleeper looks up this often even if nobody rings: a rank may have died before ringing.
constexpr std::chrono::milliseconds kSleepSlice{100};
// A wait of this length is worth the strings that say what it is about.
constexpr std::chrono::milliseconds kNotedAfter{100};

std::string seconds_text(steady_clock::duration duration) {
  std::array<char, 32> text{};
  const double seconds = std::chrono::duration<double>(duration).count();
  std::snprintf(text.data(), text.size(), "%.1f s", seconds);
  return text.data();
}

std::string waiting_text(WorldRank peer, const WaitSubject& subject) {
  return "waiting for " + name_of(peer) + " in " + subject.text;
}

}  // namespace

/// What the ranks on a chain of waits do, and which of them it is about: the one at its end, or one
/// on the way whose process is stopped; if the chain ends in a circle, all ranks of that.
struct Domain::Chain {
  std::string text;
  std::vector<WorldRank> about;
};

void Domain::ring() noexcept {
  RankBlock& mine = state_->block(rank_);
  mine.bell.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(mine.bell);
}

void Domain::ring_everybody() noexcept {
  for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
    RankBlock& block = state_->block(WorldRank{rank});
    block.bell.fetch_add(1, std::memory_order_seq_cst);
    futex_wake_all(block.bell);
  }
}

/// Sleeps on `peer`'s bell unless `ready()`, poison or the peer's end makes it pointless; returns
/// whether `ready()`.
///
/// The waker publishes, then looks whether anybody sleeps; the sleeper says that it sleeps, then
/// looks whether there is anything. At least one of the two sees the other. The bell is read before
/// looking, so a ring between looking and sleeping makes the sleep return at once.
bool Domain::sleep_once(WorldRank peer, TimePoint until, FunctionRef<bool()> ready) noexcept {
  RankBlock& other = state_->block(peer);
  other.sleepers.fetch_add(1, std::memory_order_seq_cst);
#if !defined(COHORT_THREAD_SANITIZER)  // which knows no fences; it also reorders nothing
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  const std::uint32_t bell = other.bell.load(std::memory_order_seq_cst);
  const bool pointless = ready() || poisoned() || state_->rank_state(peer) == RankState::left;
  if (!pointless && time_is_simulated()) {
    const auto awake = [&] {
      return ready() || poisoned() || state_->rank_state(peer) == RankState::left;
    };
    simulated_sleep(awake, until);
  } else if (!pointless) {
    futex_wait(other.bell, bell, until - steady_clock::now());
  }
  other.sleepers.fetch_sub(1, std::memory_order_seq_cst);
  return ready();
}

void Domain::wait_slowly(WorldRank peer, std::chrono::milliseconds limit, FunctionRef<bool()> ready,
                         FunctionRef<WaitSubject()> subject) {
  while (!kChecked && !ready()) ::sched_yield();
  for (std::uint32_t round = 0; round < yield_count_; ++round) {
    if (ready()) return;
    if (time_is_simulated()) break;
    ::sched_yield();
  }
  wait_watched(peer, deadline_after(limit), ready, subject, scaled(limits_.stall));
}

Domain::TimePoint Domain::wait_until(WorldRank peer, TimePoint deadline, FunctionRef<bool()> ready,
                                     FunctionRef<WaitSubject()> subject) {
  return wait_watched(peer, deadline, ready, subject, setup_stall());
}

/// While ranks set up one of them may well load or allocate for longer than a step ever takes.
Domain::TimePoint::duration Domain::setup_stall() const noexcept {
  return scaled(std::max(limits_.stall, limits_.steady));
}

Domain::TimePoint Domain::wait_watched(WorldRank peer, TimePoint deadline,
                                       FunctionRef<bool()> ready,
                                       FunctionRef<WaitSubject()> subject,
                                       TimePoint::duration stall) {
  if (ready()) return deadline;
  const TimePoint started = deadline_clock();
  const TimePoint::duration limit = deadline - started;
  WaitMark mark(state_->block(rank_), peer, started);
  while (true) {
    const TimePoint now = deadline_clock();
    TimePoint slice = std::min(now + kSleepSlice, deadline);
    if (!mark.stalled() && now < started + stall) slice = std::min(slice, started + stall);
    if (sleep_once(peer, slice, ready)) return deadline;
    check_wait(peer, ready, subject);
    check_attempt();
    if (look_at(mark, subject, stall)) {
      deadline = std::max(deadline, mark.patient_since() + limit);
    }
    if (deadline_clock() < deadline) continue;
    if (ready()) return deadline;
    const WaitSubject what = subject();
    fail_wait(late(peer, started, what), waiting_text(peer, what));
  }
}

/// Lets health and the log know how a wait is going, now and then; whether it is for outside work.
bool Domain::look_at(WaitMark& mark, FunctionRef<WaitSubject()> subject,
                     TimePoint::duration stall) {
  const TimePoint now = deadline_clock();
  if (!mark.has_subject() &&
      now - mark.since() >= std::min<TimePoint::duration>(kNotedAfter, stall))
    mark.set_subject(subject().text);
  if (waits_for_outside(mark.peer())) {
    mark.forgive(now);
    return true;
  }
  if (mark.stalled() || now - mark.patient_since() < stall) return false;
  mark.begin_stall();
  if (time_is_simulated()) return false;  // by the thousand, and no time was lost
  const Chain chain = follow_waits(mark.peer());
  std::string text = name_of(rank_) + " has waited " + seconds_text(now - mark.patient_since()) +
                     " for " + name_of(mark.peer()) + " in " + subject().text + chain.text;
  if (chain.text.empty()) text += "; " + name_of(mark.peer()) + " waits for nobody";
  log(LogLevel::warning, text + last_calls_of(chain.about));
  return false;
}

void Domain::begin_idle() noexcept {
  HealthWords& words = state_->block(rank_).health;
  if (words.idle_marks.load(std::memory_order_relaxed) == 0) {
    words.idle_since_ns.store(to_ns(deadline_clock()), std::memory_order_relaxed);
  }
  words.idle_marks.fetch_add(1, std::memory_order_release);
}

void Domain::end_idle() noexcept {
  state_->block(rank_).health.idle_marks.fetch_sub(1, std::memory_order_release);
}

/// A rank whose process is stopped does not wait for outside work, whatever it said before.
bool Domain::is_idle(WorldRank rank) const {
  const RankBlock& block = state_->block(rank);
  return block.health.idle_marks.load(std::memory_order_acquire) != 0 &&
         (rank == rank_ || !process_is_stopped(block.pid.load(std::memory_order_relaxed)));
}

/// Whether this rank is idle, or a rank on the chain of waits that begins with `peer`.
bool Domain::waits_for_outside(WorldRank peer) const {
  if (is_idle(rank_)) return true;
  WorldRank rank = peer;
  for (std::uint32_t step = 0; step < rank_count_; ++step) {
    if (is_idle(rank)) return true;
    const std::uint32_t next = state_->block(rank).waiting_for.load(std::memory_order_acquire);
    if (next == 0 || next > rank_count_) return false;
    rank = WorldRank{next - 1};
  }
  return false;
}

/// Throws if the wait cannot succeed any more.
void Domain::check_wait(WorldRank peer, FunctionRef<bool()> ready,
                        FunctionRef<WaitSubject()> subject) {
  if (!poisoned()) {
    if (state_->rank_state(peer) != RankState::left) return;
    // It may have acted and left since the last look; what it did, it did before it left.
    if (ready()) return;
    publish(Error(ErrorCode::peer_failed, name_of(peer) + " left", peer));
  }
  const WaitSubject what = subject();
  if (poisoned()) throw fault(waiting_text(peer, what), what.phase);
  throw Error(ErrorCode::peer_failed, name_of(peer) + " left", peer, std::string(what.phase));
}

std::optional<Waiting> Domain::waiting(WorldRank rank) const {
  const RankBlock& block = state_->block(rank);
  const std::uint32_t peer = block.waiting_for.load(std::memory_order_acquire);
  if (peer == 0 || peer > rank_count_) return std::nullopt;
  Waiting result{WorldRank{peer - 1}, {}, {}, false};
  result.since = from_ns(block.waiting_since_ns.load(std::memory_order_relaxed));
  result.stalled = block.health.stalled.load(std::memory_order_acquire) != 0;
  const std::uint32_t version = block.subject_version.load(std::memory_order_acquire);
  std::array<std::uint64_t, 31> words{};  // one more than copied: always terminated
  for (std::size_t index = 0; index < block.subject.size(); ++index) {
    words[index] = block.subject[index].load(std::memory_order_acquire);
  }
  const bool intact =
      version % 2 == 0 && block.subject_version.load(std::memory_order_acquire) == version;
  if (intact) result.subject = reinterpret_cast<const char*>(words.data());
  return result;
}

void Domain::add_history(const CallHistory& history) {
  state_->histories.push_back(&history);
}

void Domain::remove_history(const CallHistory& history) noexcept {
  auto& histories = state_->histories;
  histories.erase(std::remove(histories.begin(), histories.end(), &history), histories.end());
}

std::string Domain::last_calls_of(std::span<const WorldRank> ranks) const {
  std::string text;
  for (const CallHistory* history : state_->histories) {
    for (const WorldRank rank : ranks) {
      const std::string calls = history->last_calls_of(rank);
      if (!calls.empty()) text += "; " + calls;
    }
  }
  return text;
}

Domain::Chain Domain::follow_waits(WorldRank peer) const {
  Chain chain{{}, {peer}};
  std::vector<WorldRank>& ranks = chain.about;
  while (true) {
    const WorldRank last = ranks.back();
    const auto pid = state_->block(last).pid.load(std::memory_order_relaxed);
    const bool stopped = process_is_stopped(pid);
    if (stopped) chain.text += "; the process of " + name_of(last) + " is stopped";
    const std::optional<Waiting> next = stopped ? std::nullopt : waiting(last);
    if (!next) {
      ranks = {last};
      return chain;
    }
    chain.text += "; " + name_of(last) + " waits for " + name_of(next->peer);
    if (!next->subject.empty()) chain.text += " in " + next->subject;
    const auto circle = std::find(ranks.begin(), ranks.end(), next->peer);
    if (circle != ranks.end()) {
      ranks.erase(ranks.begin(), circle);
      return chain;
    }
    ranks.push_back(next->peer);
    if (next->peer == rank_) return chain;
  }
}

/// The timeout of a wait for `peer`.
Error Domain::late(WorldRank peer, TimePoint started, const WaitSubject& subject) const {
  const Chain chain = follow_waits(peer);
  return Error(ErrorCode::timeout,
               name_of(rank_) + " waited " + seconds_text(deadline_clock() - started) + " for " +
                   name_of(peer) + " in " + subject.text + chain.text + last_calls_of(chain.about),
               chain.about.front(), std::string(subject.phase));
}

}  // namespace cohort::host
