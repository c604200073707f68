#pragma once

// Rank 0's side of a meeting under torchrun: it listens, gathers and answers, within its own
// all-gathers and without a thread of its own.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/unique_fd.hpp"
#include "rendezvous/frame_connection.hpp"
#include "rendezvous/relay.hpp"
#include "rendezvous/torchrun.hpp"

namespace cohort::rendezvous {

class TorchrunHub {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// Listens. Throws: Error{system}, also where another process is rank 0 of this meeting already.
  explicit TorchrunHub(const TorchrunEnvironment& environment);

  /// Rank 0's part in a round: a `gathered` or a `failed` frame.
  /// Throws: Error{timeout} naming the ranks that have not come, told to those that have.
  Frame gather(std::uint64_t round, std::span<const std::byte> mine, TimePoint deadline);

 private:
  struct Peer {
    Peer(UniqueFd owned) : socket(std::move(owned)), frames(socket.get()) {}
    UniqueFd socket;
    FrameConnection frames;
    std::optional<WorldRank> rank;  ///< known from its first frame
    std::uint64_t next_round = 0;   ///< that it has to contribute to
  };

  void wait(TimePoint deadline);
  void accept_peers();
  /// Takes in what peers sent, and forgets those that are to be forgotten.
  void serve_peers();
  /// Of one; false if it is to be forgotten.
  bool serve(Peer& peer);
  bool take_gather(Peer& peer, const Frame& frame);
  /// Whether what an unknown process says of itself fits; it is told if not.
  bool meet(Peer& peer, WorldRank rank, std::uint32_t rank_count);
  /// Ends the wait for a rank that said what no rank says, for all of them.
  void end_corrupt(Peer& peer, const std::string& what);
  void end(WorldRank rank, const Error& error);
  void refuse(Peer& peer, const Error& error);
  void deliver(const std::vector<Outgoing>& messages);
  [[noreturn]] void give_up(std::uint64_t round);
  /// Once a round has failed: tells those that are about to come.
  void stay_for_late();

  TorchrunEnvironment environment_;
  UniqueFd listener_;
  Relay relay_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<bool> came_;  // by rank: has said who it is
  std::optional<Frame> own_answer_;
};

/// A rank's contribution: the round, the bytes, its own rank and the size of its world.
std::vector<std::byte> encode_gather(WorldRank rank, std::uint32_t rank_count, std::uint64_t round,
                                     std::span<const std::byte> mine);

/// Whether the process behind a connection is this user's.
bool is_of_this_user(int socket) noexcept;

/// Calls `use(address, bytes)` with the abstract address of `name`; returns what it returns.
int with_abstract_address(const std::string& name,
                          const std::function<int(const void*, std::uint32_t)>& use);

}  // namespace cohort::rendezvous
