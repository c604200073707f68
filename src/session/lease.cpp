// Leases: entries that a rank holds for as long as it likes.
//
// For each entry a rank's arena has one word with the last of its uses that the rank has dropped.
// A lease is the use after that; to take it, a rank waits until the words of all others say that
// the use before it is over.
//
// A lease that a graph owns is dropped by whatever thread destroys the graph, perhaps after the
// session: the anchor's lock orders the two. Nothing of CUDA is called under it.

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>

#include "session/session_state.hpp"

namespace cohort {

/// Shared by a session and its leases; the session is gone once `state` is null.
struct Lease::Anchor {
  explicit Anchor(SessionState* session) : state(session) {}
  std::mutex mutex;
  SessionState* state;                 // with `mutex`
  std::vector<std::size_t> of_graphs;  // with `mutex`: word offsets of leases that graphs own
};

Lease::Lease(Lease&& other) noexcept
    : anchor_(std::move(other.anchor_)),
      buffer_(std::exchange(other.buffer_, {})),
      word_offset_(other.word_offset_),
      use_(other.use_) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  drop();
  anchor_ = std::move(other.anchor_);
  buffer_ = std::exchange(other.buffer_, {});
  word_offset_ = other.word_offset_;
  use_ = other.use_;
  return *this;
}

Lease::~Lease() {
  drop();
}

void Lease::drop() noexcept {
  const std::shared_ptr<Anchor> anchor = std::move(anchor_);
  buffer_ = {};
  if (!anchor) return;
  const std::lock_guard lock(anchor->mutex);
  std::erase(anchor->of_graphs, word_offset_);
  if (anchor->state != nullptr) anchor->state->note_dropped(word_offset_, use_);
}

Lease SessionState::lease(SlotId slot) {
  check_slot(slot);
  const PlannedSlot& planned = plan_.slots()[slot.index()];
  if (planned.spec.leases == 0) {
    throw Error(ErrorCode::usage,
                "slot '" + planned.name + "' has no leases; plan them with SlotSpec::leases");
  }
  const heap::LeaseTurn turn = rings_->next_lease(slot);
  const std::size_t offset =
      layout_.slots[slot.index()].lease_offset + turn.index * sizeof(std::uint64_t);
  if (!anchor_) anchor_ = std::make_shared<Lease::Anchor>(this);
  await_dropped(planned, turn, offset);
  executor_->settle(turn.entry);
  rings_->count_lease(slot);
  Lease lease;
  lease.anchor_ = anchor_;
  lease.buffer_ = entry(turn.entry);
  lease.word_offset_ = offset;
  lease.use_ = turn.use;
  return lease;
}

void SessionState::await_dropped(const PlannedSlot& slot, const heap::LeaseTurn& turn,
                                 std::size_t offset) {
  const std::uint64_t last = turn.use - 1;
  const WorldRank self = domain_->rank();
  const std::string name = "lease " + std::to_string(turn.index) + " of slot '" + slot.name + "'";
  if (!await_own_dropped(name, offset, last)) {
    throw Error(ErrorCode::usage,
                "rank " + std::to_string(self.index()) + " takes " + name +
                    " while it holds it; drop it first, or plan more leases",
                self, "lease");
  }
  for (const GroupKind kind : all_group_kinds()) {
    if ((slot.group_mask & (1U << static_cast<unsigned>(kind))) == 0) continue;
    for (const WorldRank peer : groups_.group_of(kind, self)) {
      await_dropped_by(peer, name + ", which rank ", offset, last);
    }
  }
  // A rank that leaves a failed world drops its leases, but not for anybody to go on with.
  domain_->check("taking a lease", "lease");
}

bool SessionState::await_own_dropped(const std::string& name, std::size_t offset,
                                     std::uint64_t last) {
  const WorldRank self = domain_->rank();
  {
    const std::lock_guard lock(anchor_->mutex);
    if (lease_word(self, offset).load(std::memory_order_relaxed) >= last) return true;
    const auto& given = anchor_->of_graphs;
    if (std::find(given.begin(), given.end(), offset) == given.end()) return false;
  }
  // A driver tells of a graph's end some time after the call that destroyed it.
  await_dropped_by(self, name + ", which a graph of rank ", offset, last);
  return true;
}

void SessionState::await_dropped_by(WorldRank rank, const std::string& what, std::size_t offset,
                                    std::uint64_t last) {
  const std::atomic<std::uint64_t>& word = lease_word(rank, offset);
  domain_->wait_for(
      rank, domain_->limits().steady, [&] { return word.load(std::memory_order_seq_cst) >= last; },
      [&] {
        return host::WaitSubject{"lease", what + std::to_string(rank.index()) + " still holds"};
      });
}

void SessionState::give_to_graph(Lease& lease, Stream stream) {
  check_open();
  if (!lease.held() || lease.anchor_ != anchor_) {
    throw Error(ErrorCode::usage, "the lease was dropped, or is of another session",
                domain_->rank(), "give_to_graph");
  }
  const std::size_t offset = lease.word_offset_;
  auto held = std::make_unique<Lease>();
  {
    const std::lock_guard lock(anchor_->mutex);
    anchor_->of_graphs.push_back(offset);
  }
  *held = std::move(lease);
  try {
    memory_->give_to_graph(
        stream.handle, [](void* given) { delete static_cast<Lease*>(given); }, held.get());
  } catch (...) {
    lease = std::move(*held);
    const std::lock_guard lock(anchor_->mutex);
    std::erase(anchor_->of_graphs, offset);
    throw;
  }
  static_cast<void>(held.release());
}

void SessionState::note_dropped(std::size_t word_offset, std::uint64_t use) noexcept {
  lease_word(domain_->rank(), word_offset).store(use, std::memory_order_seq_cst);
  domain_->wake();
}

void SessionState::release_leases() noexcept {
  if (!anchor_) return;
  const std::lock_guard lock(anchor_->mutex);
  anchor_->state = nullptr;
}

}  // namespace cohort
