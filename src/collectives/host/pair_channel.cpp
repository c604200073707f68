#include "collectives/host/pair_channel.hpp"

#include <new>
#include <string>
#include <utility>

#include "base/test_point.hpp"

namespace cohort::host {

using collectives::CallNote;
using collectives::Place;

PairChannel::PairChannel(Channel& channel, std::size_t first_reader)
    : channel_(&channel), first_reader_(first_reader) {}

void PairChannel::initialise(std::byte* arena, const heap::SendRecvRegion& region,
                             std::uint64_t sequence) {
  if (region.peers == 0) return;
  std::byte* const sync = arena + region.sync_offset;
  new (sync) SendStaging{};
  for (std::size_t peer = 0; peer < region.peers; ++peer) {
    auto* words = new (sync + heap::kSendStagingBytes + peer * heap::kPairSyncBytes) PairWords{};
    words->sent = sequence;
    words->checked = sequence;
    words->credit.store(sequence, std::memory_order_relaxed);
    for (std::size_t i = 0; i < heap::kPlaceCount; ++i) {
      words->sent_notes[i].call.clear(sequence);
      words->refusals[i].call.clear(sequence);
      std::byte* place =
          arena + region.scratch_offset + (peer * heap::kPlaceCount + i) * heap::kPlaceBytes;
      new (place) std::atomic<std::uint64_t>(sequence);
    }
  }
}

PairWords& PairChannel::words(std::uint32_t owner, std::uint32_t peer) const noexcept {
  return *reinterpret_cast<PairWords*>(channel_->arena_of(owner) + region().sync_offset +
                                       heap::kSendStagingBytes + peer * heap::kPairSyncBytes);
}

HeaderPlace& PairChannel::place(std::uint32_t from, std::uint32_t to,
                                std::uint64_t sequence) const noexcept {
  const std::size_t index = to * heap::kPlaceCount + sequence % heap::kPlaceCount;
  return *reinterpret_cast<HeaderPlace*>(channel_->arena_of(from) + region().scratch_offset +
                                         index * heap::kPlaceBytes);
}

std::uint64_t PairChannel::await_credit(std::uint32_t peer, std::uint64_t sequence,
                                        std::string_view phase) {
  const std::atomic<std::uint64_t>& credit = words(peer, channel_->self()).credit;
  const auto ready = [&] { return reached(credit.load(std::memory_order_seq_cst), sequence); };
  if (ready()) return 0;
  const std::uint64_t begin = collectives::ticks();
  Domain& domain = channel_->domain();
  const WorldRank rank = channel_->ranks()[peer];
  domain.wait_for(rank, domain.limits().steady, ready, [&] {
    return WaitSubject{
        phase, std::string(phase) + " until rank " + std::to_string(rank.index()) +
                   " has received message " + std::to_string(sequence) + " from rank " +
                   std::to_string(channel_->ranks()[channel_->self()].index()) + " on " +
                   collectives::describe(channel_->identity().kind, channel_->ranks()) + " lane " +
                   std::to_string(channel_->identity().lane.index())};
  });
  return collectives::ticks() - begin;
}

std::optional<RefusedMessage> PairChannel::next_refusal(std::uint32_t peer) {
  PairWords& mine = words(channel_->self(), peer);
  const PairWords& theirs = words(peer, channel_->self());
  const std::uint64_t credit = theirs.credit.load(std::memory_order_seq_cst);
  while (mine.checked != credit) {
    const std::uint64_t sequence = ++mine.checked;
    const CallNote& note = theirs.refusals[sequence % heap::kPlaceCount];
    const collectives::CallRecord call = note.call.load();
    const Place place = Place::from_word(call.place);
    if (call.sequence != sequence || place.kind() != Place::Kind::refused) continue;
    return RefusedMessage{sequence, collectives::refusal_code(note),
                          collectives::read_refusal(note)};
  }
  return std::nullopt;
}

void PairChannel::check_idle() {
  const std::uint32_t self = channel_->self();
  const auto ranks = channel_->ranks();
  for (std::uint32_t peer = 0; peer < channel_->size(); ++peer) {
    if (peer == self) continue;
    if (const auto refused = next_refusal(peer)) {
      throw Error(refused->code, describe(*refused, ranks[self], ranks[peer]), ranks[peer], "send");
    }
    const auto text = not_received(peer);
    if (text) throw Error(ErrorCode::usage, *text, ranks[peer], "recommit");
  }
}

std::optional<std::string> PairChannel::not_received(std::uint32_t peer) const {
  const std::uint32_t self = channel_->self();
  const auto ranks = channel_->ranks();
  const std::uint64_t sent = words(self, peer).sent;
  const std::uint64_t received = words(peer, self).credit.load(std::memory_order_seq_cst);
  if (received == sent) return std::nullopt;
  std::string numbers = " has not received message " + std::to_string(sent);
  if (received + 1 != sent) {
    numbers = " has not received messages " + std::to_string(received + 1) + " to " +
              std::to_string(sent);
  }
  return "rank " + std::to_string(ranks[peer].index()) + numbers + " from rank " +
         std::to_string(ranks[self].index()) + " on " +
         collectives::describe(channel_->identity().kind, ranks) + " lane " +
         std::to_string(channel_->identity().lane.index());
}

std::vector<std::string> PairChannel::lost() {
  const std::uint32_t self = channel_->self();
  const auto ranks = channel_->ranks();
  std::vector<std::string> texts;
  for (std::uint32_t peer = 0; peer < channel_->size(); ++peer) {
    if (peer == self) continue;
    while (const auto refused = next_refusal(peer)) {
      texts.push_back(describe(*refused, ranks[self], ranks[peer]));
    }
    if (auto text = not_received(peer)) texts.push_back(std::move(*text));
  }
  return texts;
}

std::size_t PairChannel::claim_staging(std::uint32_t peer, std::uint64_t sequence,
                                       std::uint64_t& wait_ticks) {
  auto& ring =
      *reinterpret_cast<SendStaging*>(channel_->arena_of(channel_->self()) + region().sync_offset);
  const std::size_t entry = ring.next;
  SendStaging::Use& last = ring.uses[entry];
  if (last.used != 0) wait_ticks += await_credit(last.peer, last.sequence, "send");
  last = {sequence, peer, 1};
  ring.next = (entry + 1) % heap::kPlaceCount;
  return region().staging_offset + entry * region().staging_entry_bytes;
}

std::string describe(const RefusedMessage& refused, WorldRank from, WorldRank to) {
  return "rank " + std::to_string(to.index()) + " refused message " +
         std::to_string(refused.sequence) + " from rank " + std::to_string(from.index()) + ": " +
         refused.text;
}

}  // namespace cohort::host
