#pragma once

// Meeting the other ranks of the host: one connection per pair of ranks.

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include <cohort/bootstrap.hpp>
#include <cohort/ids.hpp>

#include "base/unique_fd.hpp"

namespace cohort::host {

struct MeshPeer {
  UniqueFd socket;   ///< none for this rank itself
  UniqueFd process;  ///< a pidfd; none where the peer is a thread of this process or not visible
  bool in_this_process = false;
};

/// All ranks by world rank, connected to this one.
struct Mesh {
  std::vector<MeshPeer> peers;
};

/// Exchanges versions and addresses through `bootstrap`, then connects every pair.
/// Collective over all ranks.
/// Throws: Error{mismatch} if versions differ, Error{unsupported} for ranks on other hosts,
/// Error{timeout, peer_failed} naming the rank, Error{system}.
Mesh meet(Bootstrap& bootstrap, Bootstrap::TimePoint deadline);

/// Sends a descriptor to a peer.
/// Throws: Error{peer_failed} naming the peer.
void send_fd(const Mesh& mesh, WorldRank to, std::uint64_t tag, int fd);

/// The descriptor that a peer sent with this tag, if it is there yet. Those with smaller tags were
/// sent in an exchange that was given up; they are closed.
/// Throws: Error{peer_failed} if the peer closed its end, Error{mismatch} for a larger tag,
/// Error{system} if this process has no room for it.
UniqueFd try_receive_fd(const Mesh& mesh, WorldRank from, std::uint64_t tag);

}  // namespace cohort::host
