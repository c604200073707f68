#include "rendezvous/relay.hpp"

#include <algorithm>
#include <utility>

#include "rendezvous/protocol.hpp"
#include "rendezvous/wire.hpp"

namespace cohort::rendezvous {

std::vector<Outgoing> Relay::on_gather(WorldRank from, std::uint64_t round,
                                       std::vector<std::byte> bytes) {
  Round& entry = rounds_[round];
  entry.contributions.resize(rank_count());
  entry.answered.resize(rank_count());
  entry.contributions[from.index()] = std::move(bytes);
  return settle(round);
}

std::vector<Outgoing> Relay::on_ask_missing(WorldRank from, std::uint64_t round) const {
  wire::Writer writer;
  const auto entry = rounds_.find(round);
  for (std::uint32_t rank = 0; rank < rank_count(); ++rank) {
    const bool here = entry == rounds_.end() || entry->second.contributions[rank].has_value();
    if (!here) writer.put(rank);
  }
  return {{from, encode_frame(FrameType::missing, writer.bytes())}};
}

std::vector<Outgoing> Relay::on_ended(WorldRank rank, const Error& reason) {
  ended_[rank.index()] = reason;
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, round] : rounds_) numbers.push_back(number);
  std::vector<Outgoing> all;
  for (const std::uint64_t number : numbers) {
    std::vector<Outgoing> some = settle(number);
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

std::vector<Outgoing> Relay::on_corrupted(WorldRank rank, const Error& reason) {
  for (auto& [number, round] : rounds_) round.contributions[rank.index()].reset();
  return on_ended(rank, reason);
}

std::vector<Outgoing> Relay::settle(std::uint64_t number) {
  Round& round = rounds_.at(number);
  std::vector<std::byte> frame;
  const bool complete = std::all_of(round.contributions.begin(), round.contributions.end(),
                                    [](const auto& bytes) { return bytes.has_value(); });
  if (complete) {
    wire::Writer writer;
    writer.put(number);
    for (const auto& bytes : round.contributions) writer.put_bytes(*bytes);
    frame = encode_frame(FrameType::gathered, writer.bytes());
  } else {
    for (std::uint32_t rank = 0; rank < rank_count() && frame.empty(); ++rank) {
      if (round.contributions[rank] || !ended_[rank]) continue;
      frame = encode_frame(FrameType::failed, encode_error(*ended_[rank]));
    }
  }
  std::vector<Outgoing> outgoing;
  if (frame.empty()) return outgoing;
  for (std::uint32_t rank = 0; rank < rank_count(); ++rank) {
    if (!round.contributions[rank] || round.answered[rank]) continue;
    round.answered[rank] = true;
    outgoing.push_back({WorldRank{rank}, frame});
  }
  if (complete) rounds_.erase(number);
  return outgoing;
}

}  // namespace cohort::rendezvous
