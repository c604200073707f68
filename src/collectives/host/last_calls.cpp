#include "collectives/host/last_calls.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "collectives/host/channel.hpp"
#include "collectives/host/pair_channel.hpp"
#include "collectives/last_calls.hpp"

namespace cohort::host {
namespace {

using collectives::CallNote;
using collectives::CallRecord;
using collectives::Place;

/// The newest published call of two header places, in `words` if it can be read whole.
struct Newest {
  std::uint64_t sequence = 0;
  std::optional<CallRecord> words;
};

using Places = std::array<const HeaderPlace*, heap::kPlaceCount>;

/// Nothing if there has been no call yet.
std::optional<Newest> newest_of(const Places& places,
                                std::span<const CallNote, heap::kPlaceCount> notes) {
  Newest newest;
  for (int look = 0; look < collectives::kLooks; ++look) {
    const std::uint64_t first = places[0]->sequence.load(std::memory_order_acquire);
    const std::uint64_t second = places[1]->sequence.load(std::memory_order_acquire);
    newest.sequence = reached(first, second) ? first : second;
    if (first == second) return std::nullopt;  // as they were made
    newest.words = notes[newest.sequence % heap::kPlaceCount].call.load_of(newest.sequence);
    if (newest.words) break;
  }
  return newest;
}

std::string describe(const Newest& newest) {
  std::string text = std::to_string(newest.sequence);
  if (!newest.words) return text;
  text += " " + collectives::describe(*newest.words);
  const bool refused = Place::from_word(newest.words->place).kind() == Place::Kind::refused;
  return refused ? text + ", refused" : text;
}

std::uint32_t member_of(std::span<const WorldRank> ranks, WorldRank rank) {
  return static_cast<std::uint32_t>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

/// One rank's words of one channel.
class LaneReader {
 public:
  LaneReader(const std::byte* arena, const heap::ChannelRegion& region)
      : arena_(arena), region_(&region) {}

  std::string collectives() const {
    const auto* const words = reinterpret_cast<const SyncWords*>(arena_ + region_->sync_offset);
    const auto newest = newest_of(places(region_->scratch_offset), words->notes);
    return newest ? "call " + describe(*newest) : "none";
  }

  /// Of one pair: what was sent to `peer`, and up to where its messages were received.
  std::string messages(std::uint32_t peer, const std::string& name) const {
    const heap::SendRecvRegion& region = region_->messages;
    if (peer >= region.peers) return {};
    const auto* const words = reinterpret_cast<const PairWords*>(
        arena_ + region.sync_offset + heap::kSendStagingBytes + peer * heap::kPairSyncBytes);
    const std::size_t offset = region.scratch_offset + peer * heap::kPlaceCount * heap::kPlaceBytes;
    std::string text;
    if (const auto newest = newest_of(places(offset), words->sent_notes)) {
      text += ", message " + describe(*newest) + " to " + name;
    }
    const std::uint64_t received = words->credit.load(std::memory_order_acquire);
    if (received != 0) text += ", message " + std::to_string(received) + " from " + name;
    return text;
  }

 private:
  Places places(std::size_t offset) const {
    const std::byte* const begin = arena_ + offset;
    return {reinterpret_cast<const HeaderPlace*>(begin),
            reinterpret_cast<const HeaderPlace*>(begin + heap::kPlaceBytes)};
  }

  const std::byte* arena_;
  const heap::ChannelRegion* region_;
};

}  // namespace

std::string last_calls_of(WorldRank rank, WorldRank reader, const Layout& groups,
                          const heap::ArenaLayout& layout, const Arena& arena) {
  return collectives::describe_last_calls(
      rank, groups, layout.channels,
      [&](const heap::ChannelRegion& region, std::span<const WorldRank> ranks) {
        const LaneReader lane(arena.of(rank), region);
        const std::uint32_t peer = member_of(ranks, reader);
        if (reader == rank || peer == ranks.size()) return lane.collectives();
        return lane.collectives() + lane.messages(peer, "rank " + std::to_string(reader.index()));
      });
}

}  // namespace cohort::host
