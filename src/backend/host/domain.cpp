// Joining, leaving and faults. Waiting is in domain_wait.cpp, exchanges in domain_exchange.cpp.

#include "backend/host/domain.hpp"

#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "backend/host/domain_state.hpp"
#include "backend/host/futex.hpp"
#include "backend/host/hello.hpp"
#include "backend/host/wait_mark.hpp"
#include "base/system_limits.hpp"
#include "base/test_point.hpp"

namespace cohort::host {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint64_t kControlFdTag = ~std::uint64_t{0};
constexpr milliseconds kPollSlice{50};
// How much longer the last steps of a join wait than the first, at most.
constexpr milliseconds kJoinMargin{1000};
// Long enough for another rank to finish writing the fault record, even if it is not running now.
constexpr milliseconds kClaimPatience{200};

// About a tenth of a millisecond of pauses, far longer than a peer that runs needs to answer.
constexpr std::uint32_t kSpinCount = 4000;
// Beyond as many yields as bring every other rank of an oversubscribed host to run, sleeping is
// cheaper.
constexpr std::uint32_t kYieldCount = 40;

}  // namespace

Domain::Domain(WorldRank rank, std::uint32_t rank_count, const WaitLimits& limits)
    : rank_(rank), rank_count_(rank_count), limits_(limits), state_(std::make_unique<State>()) {
  const bool oversubscribed = rank_count > usable_cpu_count();
  spin_count_ = oversubscribed ? 0 : kSpinCount;
  yield_count_ = oversubscribed ? kYieldCount : 0;
}

std::shared_ptr<Domain> Domain::join(Bootstrap& bootstrap, const WaitLimits& limits) {
  std::shared_ptr<Domain> domain(new Domain(bootstrap.rank(), bootstrap.world_size(), limits));
  try {
    domain->meet(bootstrap);
  } catch (const std::exception& exception) {
    if (domain->state_->mesh.peers.empty()) throw;  // the bootstrap's, or already said to all
    const Error error = error_of_joining(exception, domain->rank());
    domain->publish_fault(error);
    // Before the control segment there is nothing to publish in.
    if (domain->poison_ == nullptr) say_farewell(domain->state_->mesh, error);
    throw error;
  }
  return domain;
}

void Domain::meet(Bootstrap& bootstrap) {
  const TimePoint deadline = deadline_after(limits_.setup);
  state_->mesh = host::meet(bootstrap, deadline);
  test_point("join.control");
  // Ranks that still wait to be connected with give up first: they know for whom.
  const TimePoint later =
      deadline + (deadline_after(std::min(limits_.setup / 4, kJoinMargin)) - deadline_clock());
  open_control_segment(later);
  const bool all_here =
      std::all_of(state_->mesh.peers.begin(), state_->mesh.peers.end(),
                  [](const MeshPeer& peer) { return peer.in_this_process || !peer.socket; });
  if (!all_here) {
    state_->monitor = Monitor::shared();
    state_->monitor->add(state_->mesh, [this](WorldRank peer) { mark_ended(peer); });
  }
  test_point("join.agree");
  // Nobody leaves the join before all have mapped the segment: from here on faults reach everybody.
  all_gather({}, "join", later);
}

void Domain::open_control_segment(TimePoint deadline) {
  const std::size_t bytes = ControlSegment::bytes_for(rank_count_);
  const WorldRank creator{0};
  const bool creates = rank_ == creator;
  UniqueFd fd;
  if (creates) {
    fd = create_shared_memory("cohort-control", bytes, [](std::size_t) {});
    state_->control_bytes = shared_memory_held_bytes(fd.get());
  } else {
    fd = receive_control_fd(deadline);
  }
  test_point("join.map");
  state_->control = SharedMapping::map(fd.get(), bytes, creator);
  if (creates) {
    auto* const segment = new (state_->control->data()) ControlSegment;
    segment->rank_count = rank_count_;
    segment->health_written_ns.store(to_ns(steady_clock::now()), std::memory_order_relaxed);
    for (std::uint32_t rank = 0; rank < rank_count_; ++rank)
      new (segment->blocks() + rank) RankBlock;
    test_point("join.share");
    for (std::uint32_t rank = 1; rank < rank_count_; ++rank) {
      share_control_fd(WorldRank{rank}, fd.get());
    }
  }
  ControlSegment& segment = state_->segment();
  if (segment.magic != kControlMagic || segment.rank_count != rank_count_) {
    throw Error(ErrorCode::mismatch, "rank 0 shares control memory of another job or version",
                creator, "join");
  }
  RankBlock& mine = state_->block(rank_);
  sleepers_ = &mine.sleepers;
  mine.pid.store(::getpid(), std::memory_order_relaxed);
  mine.state.store(static_cast<std::uint32_t>(RankState::joined), std::memory_order_seq_cst);
  // Last: whoever sees it may use everything above.
  poison_ = &segment.poison;
  open_health_file();
}

void Domain::share_control_fd(WorldRank peer, int fd) const {
  try {
    send_fd(state_->mesh, peer, kControlFdTag, fd);
  } catch (const Error& error) {
    if (const auto farewell = peek_farewell(state_->mesh.peers[peer.index()].socket.get())) {
      throw *farewell;
    }
    if (error.code() == ErrorCode::peer_failed) fail_gone(peer);
    throw;
  }
}

void Domain::fail_gone(WorldRank peer) const {
  throw Error(ErrorCode::peer_failed,
              name_of(peer) + " ended while joining (" + name_of(rank_) + " was waiting for " +
                  name_of(peer) + " in join)",
              peer, "join");
}

/// Throws if a rank has given up or ended: then rank 0 waits in vain, and this rank with it.
void Domain::check_joining_peers() const {
  for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
    const MeshPeer& peer = state_->mesh.peers[rank];
    if (!peer.socket) continue;
    if (const auto farewell = peek_farewell(peer.socket.get())) throw *farewell;
    if (peer.process && has_ended(peer)) fail_gone(WorldRank{rank});
  }
}

UniqueFd Domain::receive_control_fd(TimePoint deadline) const {
  const WorldRank creator{0};
  pollfd polled{state_->mesh.peers[0].socket.get(), POLLIN, 0};
  while (true) {
    bool closed = false;
    try {
      if (UniqueFd fd = try_receive_fd(state_->mesh, rank_, creator, kControlFdTag)) return fd;
    } catch (const Error& error) {
      closed = error.code() == ErrorCode::peer_failed && error.rank() == creator;
      if (!closed) throw;
      // Rank 0 lives and has closed the connection without a word: it took this rank for a
      // stranger. It will say so itself to all others, and they would believe this rank first.
      if (has_ended(state_->mesh.peers[0])) fail_gone(creator);
    }
    check_joining_peers();
    if (steady_clock::now() >= deadline) {
      throw Error(ErrorCode::timeout, name_of(rank_) + " waited for rank 0 to share its memory",
                  creator, "join");
    }
    ::poll(&polled, closed ? 0 : 1, static_cast<int>(kPollSlice.count()));
  }
}

Domain::~Domain() {
  if (poison_ != nullptr) {
    RankBlock& mine = state_->block(rank_);
    // Before the connections close, so that nobody takes their end for a death.
    mine.state.store(static_cast<std::uint32_t>(RankState::left), std::memory_order_seq_cst);
    ring();
  }
  if (state_->monitor) state_->monitor->remove(state_->mesh);
  if (state_->health_file) state_->health_file->end();
}

Domain::TimePoint::duration Domain::scaled(milliseconds limit) const noexcept {
  const std::chrono::duration<double, std::milli> scaled = limit * limits_.scale;
  return std::chrono::duration_cast<steady_clock::duration>(scaled);
}

Domain::TimePoint Domain::deadline_after(milliseconds limit) const noexcept {
  return deadline_clock() + scaled(limit);
}

// --- faults
// ---------------------------------------------------------------------------------------

void Domain::check(std::string_view doing, std::string_view phase) const {
  if (poisoned()) throw fault(doing, phase);
}

void Domain::publish_fault(const Error& error) noexcept {
  publish(error);
}

void Domain::fail(const Error& error) {
  if (publish(error) || !poisoned()) throw error;
  throw fault(error.phase().empty() ? std::string() : "in " + error.phase(), error.phase());
}

bool Domain::publish(const Error& error) noexcept {
  if (poison_ == nullptr) return false;
  ControlSegment& segment = state_->segment();
  const auto is_dead = [&](WorldRank rank) {
    return rank.index() < rank_count_ && state_->rank_state(rank) == RankState::dead;
  };
  const bool mine = write_first_fault(segment.fault, rank_, error, is_dead, kClaimPatience);
  // Its writer may have died between completing the record and poisoning: whoever finds it
  // complete poisons as well.
  if (is_complete(segment.fault) && segment.poison.exchange(1, std::memory_order_seq_cst) == 0) {
    ring_everybody();
    if (state_->health_file) state_->health_file->hurry();
  }
  return mine;
}

/// The monitor's news that `peer`'s process or connection has ended.
void Domain::mark_ended(WorldRank peer) noexcept {
  std::atomic<std::uint32_t>& state = state_->block(peer).state;
  auto seen = state.load(std::memory_order_seq_cst);
  if (static_cast<RankState>(seen) == RankState::left) return;
  const bool joining = static_cast<RankState>(seen) == RankState::absent;
  const auto dead = static_cast<std::uint32_t>(RankState::dead);
  if (!state.compare_exchange_strong(seen, dead) &&
      static_cast<RankState>(seen) == RankState::left) {
    return;
  }
  // Whatever its state: another rank's monitor may have marked it dead and not yet said why.
  const auto farewell = peek_farewell(state_->mesh.peers[peer.index()].socket.get());
  publish(farewell ? *farewell
                   : Error(ErrorCode::peer_failed,
                           name_of(peer) + (joining ? " ended while joining" : " died"), peer,
                           joining ? "join" : ""));
}

Error Domain::fault(std::string_view doing, std::string_view phase) const {
  const Error recorded = read_fault(state_->segment().fault);
  std::string text = recorded.what();
  if (!doing.empty()) {
    text += " (" + name_of(rank_) + " was ";
    text += doing;
    text += ")";
  }
  return Error(recorded.code(), text, recorded.rank(),
               recorded.phase().empty() ? std::string(phase) : recorded.phase());
}

// --- memory
// ---------------------------------------------------------------------------------------

std::size_t Domain::control_bytes() const noexcept {
  return state_->control_bytes;
}

void Domain::set_pending_bytes(std::size_t bytes) noexcept {
  state_->block(rank_).pending_bytes.store(bytes, std::memory_order_seq_cst);
}

std::size_t Domain::pending_bytes() const noexcept {
  std::size_t sum = 0;
  for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
    sum += state_->block(WorldRank{rank}).pending_bytes.load(std::memory_order_seq_cst);
  }
  return sum;
}

}  // namespace cohort::host
