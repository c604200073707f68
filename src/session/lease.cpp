// Leases: entries that a rank holds for as long as it likes.
//
// For each entry a rank's arena has one word with the last of its uses that the rank has dropped.
// A lease is the use after that; to take it, a rank waits until the words of all others say that
// the use before it is over.

#include <string>
#include <utility>

#include <cohort/error.hpp>

#include "session/session_state.hpp"

namespace cohort {

/// Shared by a session and its leases; the session is gone once `state` is null.
struct Lease::Anchor {
  SessionState* state = nullptr;
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
  if (anchor && anchor->state != nullptr) anchor->state->note_dropped(word_offset_, use_);
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
  await_dropped(planned, turn, offset);
  executor_->settle(turn.entry);
  if (!anchor_) anchor_ = std::make_shared<Lease::Anchor>(Lease::Anchor{this});
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
  if (lease_word(self, offset).load(std::memory_order_relaxed) < last) {
    throw Error(ErrorCode::usage,
                "rank " + std::to_string(self.index()) + " takes lease " +
                    std::to_string(turn.index) + " of slot '" + slot.name +
                    "' while it holds it; drop it first, or plan more leases",
                self, "lease");
  }
  for (const GroupKind kind : all_group_kinds()) {
    if ((slot.group_mask & (1U << static_cast<unsigned>(kind))) == 0) continue;
    for (const WorldRank peer : groups_.group_of(kind, self)) {
      const std::atomic<std::uint64_t>& word = lease_word(peer, offset);
      domain_->wait_for(
          peer, domain_->limits().steady,
          [&] { return word.load(std::memory_order_seq_cst) >= last; },
          [&] {
            return host::WaitSubject{"lease", "lease " + std::to_string(turn.index) + " of slot '" +
                                                  slot.name + "', which rank " +
                                                  std::to_string(peer.index()) + " still holds"};
          });
    }
  }
  // A rank that leaves a failed world drops its leases, but not for anybody to go on with.
  domain_->check("taking a lease", "lease");
}

void SessionState::note_dropped(std::size_t word_offset, std::uint64_t use) noexcept {
  lease_word(domain_->rank(), word_offset).store(use, std::memory_order_seq_cst);
  domain_->wake();
}

void SessionState::release_leases() noexcept {
  if (anchor_) anchor_->state = nullptr;
}

}  // namespace cohort
