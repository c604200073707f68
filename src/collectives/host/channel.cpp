#include "collectives/host/channel.hpp"

#include <new>
#include <string>

#include "collectives/member_order.hpp"

namespace cohort::host {

Channel::Channel(Domain& domain, const Arena& arena, const heap::ChannelRegion& region,
                 const collectives::ChannelIdentity& identity, const Membership& membership,
                 std::size_t index)
    : domain_(&domain),
      arena_(&arena),
      region_(region),
      identity_(identity),
      ranks_(membership.ranks),
      self_(membership.self),
      index_(index),
      calls_begun_(&domain.call_word(identity.kind, identity.lane)),
      pull_order_(collectives::pull_order(membership.nodes, membership.self.index())) {
  for (std::uint32_t root = 0; root < size(); ++root) {
    broadcast_parents_.push_back(collectives::broadcast_parents(membership.nodes, root));
  }
}

void Channel::initialise(std::byte* arena, const heap::ChannelRegion& region,
                         std::uint64_t sequence) {
  auto* words = new (arena + region.sync_offset) SyncWords{};
  words->done.store(sequence, std::memory_order_relaxed);
  words->result_ready.store(sequence, std::memory_order_relaxed);
  words->pieces.store(sequence << SyncWords::kPieceBits, std::memory_order_relaxed);
  words->sequence.store(sequence, std::memory_order_relaxed);
  for (std::size_t i = 0; i < heap::kPlaceCount; ++i) {
    words->notes[i].call.clear(sequence);
    std::byte* place = arena + region.scratch_offset + i * heap::kPlaceBytes;
    new (place) std::atomic<std::uint64_t>(sequence);
  }
}

void Channel::attach() {
  members_.clear();
  for (const WorldRank rank : ranks_) {
    std::byte* base = arena_->of(rank);
    members_.push_back({reinterpret_cast<SyncWords*>(base + region_.sync_offset),
                        reinterpret_cast<HeaderPlace*>(base + region_.scratch_offset), base});
  }
}

void Channel::check_sequences() const {
  const std::uint64_t mine = own().sequence.load(std::memory_order_relaxed);
  for (std::uint32_t member = 0; member < size(); ++member) {
    const std::uint64_t theirs = words_of(member).sequence.load(std::memory_order_relaxed);
    if (theirs == mine) continue;
    throw Error(ErrorCode::mismatch,
                "rank " + std::to_string(ranks_[self()].index()) + " has made " +
                    std::to_string(mine) + " calls on " +
                    collectives::describe(identity_.kind, ranks_) + ", rank " +
                    std::to_string(ranks_[member].index()) + " " + std::to_string(theirs),
                ranks_[member], "recommit");
  }
}

void Channel::await_done(std::uint64_t sequence) const {
  for (std::uint32_t member = 0; member < size(); ++member) {
    if (member == self()) continue;
    const std::atomic<std::uint64_t>& done = words_of(member).done;
    domain_->wait_for(
        ranks_[member], domain_->limits().steady,
        [&] { return reached(done.load(std::memory_order_seq_cst), sequence); },
        [&] {
          return WaitSubject{"take", "reuse of memory that rank " +
                                         std::to_string(ranks_[member].index()) +
                                         " may still be reading, on " +
                                         collectives::describe(identity_.kind, ranks_) + ", call " +
                                         std::to_string(sequence)};
        });
  }
}

}  // namespace cohort::host
