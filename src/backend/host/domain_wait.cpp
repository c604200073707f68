// The slow half of every wait: what happens once spinning has not helped.

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "backend/host/domain_state.hpp"
#include "backend/host/futex.hpp"
#include "base/checks.hpp"
#include "base/system_limits.hpp"
#include "base/test_point.hpp"

namespace cohort::host {
namespace {

using std::chrono::steady_clock;

// Every sleeper looks up this often even if nobody rings: a rank may have died before ringing.
constexpr std::chrono::milliseconds kSleepSlice{100};

std::uint64_t to_ns(steady_clock::time_point time) noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

std::string seconds_text(steady_clock::duration duration) {
  std::array<char, 32> text{};
  const double seconds = std::chrono::duration<double>(duration).count();
  std::snprintf(text.data(), text.size(), "%.1f s", seconds);
  return text.data();
}

std::string waiting_text(WorldRank peer, const WaitSubject& subject) {
  return "waiting for " + name_of(peer) + " in " + subject.text;
}

/// Says in the control segment what this rank waits for, as long as it lives.
class WaitMark {
 public:
  WaitMark(RankBlock& mine, WorldRank peer, steady_clock::time_point since) noexcept : mine_(mine) {
    mine_.waiting_since_ns.store(to_ns(since), std::memory_order_relaxed);
    mine_.waiting_for.store(peer.index() + 1, std::memory_order_release);
  }
  ~WaitMark() {
    mine_.waiting_for.store(0, std::memory_order_release);
    if (mine_.subject[0].load(std::memory_order_relaxed) != 0) {
      mine_.subject[0].store(0, std::memory_order_relaxed);
    }
  }
  WaitMark(const WaitMark&) = delete;
  WaitMark& operator=(const WaitMark&) = delete;

 private:
  RankBlock& mine_;
};

}  // namespace

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
  wait_until(peer, deadline_after(limit), ready, subject);
}

void Domain::wait_until(WorldRank peer, TimePoint deadline, FunctionRef<bool()> ready,
                        FunctionRef<WaitSubject()> subject) {
  if (ready()) return;
  const TimePoint started = deadline_clock();
  const WaitMark mark(state_->block(rank_), peer, started);
  const TimePoint stall = deadline_after(limits_.stall);
  bool stalled = false;
  while (true) {
    TimePoint slice = std::min(deadline_clock() + kSleepSlice, deadline);
    if (!stalled) slice = std::min(slice, stall);
    if (sleep_once(peer, slice, ready)) return;
    check_wait(peer, ready, subject);
    check_attempt();
    const TimePoint now = deadline_clock();
    if (!stalled && now >= stall) {
      note_subject(subject().text);
      stalled = true;
    }
    if (now < deadline) continue;
    if (ready()) return;
    const WaitSubject what = subject();
    fail_wait(late(peer, started, what), waiting_text(peer, what));
  }
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

void Domain::note_subject(const std::string& text) noexcept {
  RankBlock& mine = state_->block(rank_);
  std::array<std::uint64_t, 30> words{};
  static_assert(sizeof words == sizeof mine.subject);
  std::memcpy(words.data(), text.data(), std::min(text.size(), sizeof words - 1));
  mine.subject_version.fetch_add(1, std::memory_order_acq_rel);
  for (std::size_t index = 0; index < words.size(); ++index) {
    mine.subject[index].store(words[index], std::memory_order_release);
  }
  mine.subject_version.fetch_add(1, std::memory_order_release);
}

std::optional<Waiting> Domain::waiting(WorldRank rank) const {
  const RankBlock& block = state_->block(rank);
  const std::uint32_t peer = block.waiting_for.load(std::memory_order_acquire);
  if (peer == 0 || peer > rank_count_) return std::nullopt;
  Waiting result{WorldRank{peer - 1}, {}, {}};
  result.since = TimePoint(std::chrono::nanoseconds(
      static_cast<std::int64_t>(block.waiting_since_ns.load(std::memory_order_relaxed))));
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

/// The timeout of a wait for `peer`. It is about the rank at the end of the chain of waits, or
/// about one on the way whose process is stopped; if the chain ends in a circle, about the first
/// rank of it, and all of its ranks' calls are told.
Error Domain::late(WorldRank peer, TimePoint started, const WaitSubject& subject) const {
  std::string text = name_of(rank_) + " waited " + seconds_text(deadline_clock() - started) +
                     " for " + name_of(peer) + " in " + subject.text;
  std::vector<WorldRank> chain = {peer};
  auto circle = chain.end();
  while (circle == chain.end()) {
    const WorldRank last = chain.back();
    const auto pid = state_->block(last).pid.load(std::memory_order_relaxed);
    const bool stopped = process_is_stopped(pid);
    if (stopped) text += "; the process of " + name_of(last) + " is stopped";
    const std::optional<Waiting> next = stopped ? std::nullopt : waiting(last);
    if (!next) {
      text += last_calls_of(std::span(&last, 1));
      return Error(ErrorCode::timeout, text, last, std::string(subject.phase));
    }
    text += "; " + name_of(last) + " waits for " + name_of(next->peer);
    if (!next->subject.empty()) text += " in " + next->subject;
    circle = std::find(chain.begin(), chain.end(), next->peer);
    if (circle != chain.end()) break;
    chain.push_back(next->peer);
    circle = next->peer == rank_ ? chain.begin() : chain.end();
  }
  text += last_calls_of(std::span(circle, chain.end()));
  return Error(ErrorCode::timeout, text, *circle, std::string(subject.phase));
}

}  // namespace cohort::host
