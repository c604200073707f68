// What shared memory shows of all ranks. Any thread may ask: only words that are atomic, or
// complete for ever, are read.

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string>

#include "backend/host/domain_state.hpp"
#include "backend/host/health_file.hpp"
#include "backend/host/wait_mark.hpp"
#include "base/log.hpp"
#include "base/system_limits.hpp"

namespace cohort::host {
namespace {

double seconds_of(std::chrono::nanoseconds duration) noexcept {
  return std::max(0.0, std::chrono::duration<double>(duration).count());
}

std::vector<CallCount> calls_of(const HealthWords& words) {
  std::vector<CallCount> calls;
  for (const GroupKind kind : all_group_kinds()) {
    for (std::uint32_t lane = 0; lane < kLanesTold; ++lane) {
      const std::size_t index = static_cast<std::size_t>(kind) * kLanesTold + lane;
      const std::uint64_t sequence = words.calls[index].load(std::memory_order_relaxed);
      if (sequence != 0) calls.push_back({kind, Lane{lane}, sequence});
    }
  }
  return calls;
}

RankActivity activity_of(RankState state, const RankHealth& rank, bool stalled) noexcept {
  switch (state) {
    case RankState::absent: return RankActivity::joining;
    case RankState::left: return RankActivity::left;
    case RankState::dead: return RankActivity::dead;
    case RankState::joined: break;
  }
  if (rank.idle_s) return RankActivity::idle;
  if (rank.wait) return stalled ? RankActivity::stalled : RankActivity::waiting;
  return rank.generation == 0 ? RankActivity::joined : RankActivity::working;
}

/// Whether the wait of `rank` is for a rank that is idle, at the end of whatever chain.
bool is_for_idle(const std::vector<RankHealth>& ranks, const RankHealth& rank) {
  const RankHealth* at = &rank;
  for (std::size_t step = 0; step <= ranks.size(); ++step) {
    if (at->activity == RankActivity::idle && !at->stopped) return true;
    if (!at->wait) return false;
    at = &ranks[at->wait->rank.index()];
  }
  return false;
}

}  // namespace

std::atomic<std::uint64_t>& Domain::call_word(GroupKind kind, Lane lane) const noexcept {
  return state_->block(rank_)
      .health.calls[static_cast<std::size_t>(kind) * kLanesTold + lane.index()];
}

RankHealth Domain::health_of(WorldRank rank, TimePoint now) const {
  const RankBlock& block = state_->block(rank);
  const HealthWords& words = block.health;
  const RankState state = state_->rank_state(rank);
  RankHealth health;
  health.rank = rank;
  health.pid = block.pid.load(std::memory_order_relaxed);
  health.generation = words.generation.load(std::memory_order_relaxed);
  health.stalls = words.stalls.load(std::memory_order_relaxed);
  health.stalled_s =
      seconds_of(std::chrono::nanoseconds(words.stalled_ns.load(std::memory_order_relaxed)));
  const std::uint32_t stalled_on = words.last_stalled_on.load(std::memory_order_relaxed);
  if (stalled_on != 0) health.last_stalled_on = WorldRank{stalled_on - 1};
  health.calls = calls_of(words);
  const std::optional<Waiting> wait = waiting(rank);
  if (state == RankState::joined) {
    health.stopped = process_is_stopped(health.pid);
    if (wait) {
      health.wait = RankWait{wait->peer, seconds_of(now - wait->since), false, wait->subject};
    }
    if (words.idle_marks.load(std::memory_order_acquire) != 0) {
      health.idle_s =
          seconds_of(now - from_ns(words.idle_since_ns.load(std::memory_order_relaxed)));
    }
  }
  health.activity = activity_of(state, health, wait && wait->stalled);
  return health;
}

Health Domain::health() const {
  Health health;
  health.taken_at_s =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  health.stall_limit_s = std::chrono::duration<double>(scaled(limits_.stall)).count();
  const TimePoint now = std::chrono::steady_clock::now();
  for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
    health.ranks.push_back(health_of(WorldRank{rank}, now));
    health.generation = std::max(health.generation, health.ranks.back().generation);
  }
  for (RankHealth& rank : health.ranks) {
    if (!rank.wait) continue;
    rank.wait->for_idle = is_for_idle(health.ranks, rank);
    // The waiting rank looks ten times a second only; this is what it will find.
    if (rank.wait->for_idle && rank.activity == RankActivity::stalled) {
      rank.activity = RankActivity::waiting;
    }
  }
  // Last: whoever sees a rank dead sees why.
  const FaultRecord& record = state_->segment().fault;
  if (is_complete(record)) health.fault = read_fault(record);
  return health;
}

void Domain::open_health_file() {
  const char* const path = std::getenv("COHORT_HEALTH_FILE");
  if (path == nullptr || *path == '\0') return;
  HealthFile::Shared shared{state_->segment().health_written_ns, state_->segment().health_writer,
                            rank_};
  try {
    state_->health_file = std::make_unique<HealthFile>(path, shared, [this] { return health(); });
  } catch (const std::exception& error) {
    log(LogLevel::warning, std::string("there will be no health file: ") + error.what());
  }
}

}  // namespace cohort::host
