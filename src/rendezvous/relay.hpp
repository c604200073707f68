#pragma once

// The launcher's side of the ranks' all-gathers, without any I/O: what was heard goes in, what is
// to be sent comes out.
//
// Invariants:
//   1. A rank that waits gets exactly one answer to its gather: the result, or why there is none.
//   2. Rounds are per rank: a rank's n-th gather meets every other rank's n-th.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <cohort/error.hpp>
#include <cohort/ids.hpp>

namespace cohort::rendezvous {

struct Outgoing {
  WorldRank to;
  std::vector<std::byte> frame;
};

class Relay {
 public:
  explicit Relay(std::uint32_t rank_count) : ended_(rank_count) {}

  /// A rank's contribution to a round.
  std::vector<Outgoing> on_gather(WorldRank from, std::uint64_t round,
                                  std::vector<std::byte> bytes);
  /// A rank's question who is missing in a round.
  std::vector<Outgoing> on_ask_missing(WorldRank from, std::uint64_t round) const;
  /// A rank has ended; `reason` is what those who wait for it are to end with.
  std::vector<Outgoing> on_ended(WorldRank rank, const Error& reason);
  /// A rank has said what no rank says: it has ended as far as others are concerned, and what it
  /// contributed to rounds that are not complete does not count. It is not answered itself.
  std::vector<Outgoing> on_corrupted(WorldRank rank, const Error& reason);

 private:
  struct Round {
    std::vector<std::optional<std::vector<std::byte>>> contributions;
    std::vector<bool> answered;
  };

  std::uint32_t rank_count() const noexcept { return static_cast<std::uint32_t>(ended_.size()); }
  /// Answers those who wait in a round that is complete or can never be.
  std::vector<Outgoing> settle(std::uint64_t number);

  std::map<std::uint64_t, Round> rounds_;
  std::vector<std::optional<Error>> ended_;  // by rank: why, for those that have ended
};

}  // namespace cohort::rendezvous
