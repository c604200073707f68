#pragma once

// Meeting the other ranks of the host: one connection per pair of ranks.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>
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

/// Tells every peer that can hear it why this rank gives up joining. Never waits.
void say_farewell(const Mesh& mesh, const Error& error) noexcept;

/// Why a peer gave up joining, if that is the next thing it says. Leaves every message there.
std::optional<Error> peek_farewell(int socket) noexcept;

/// Whether a peer's process has ended; also where that cannot be told.
bool has_ended(const MeshPeer& peer) noexcept;

/// Sends a descriptor to a peer.
/// Throws: Error{peer_failed} naming the peer.
void send_fd(const Mesh& mesh, WorldRank to, std::uint64_t tag, int fd);

/// The descriptor that a peer sent with this tag, if it is there yet. Those with smaller tags were
/// sent in an exchange that was given up; they are closed.
/// Throws: Error{peer_failed} if the peer closed its end, Error{mismatch} for a larger tag or
/// another message, Error{system} naming `self` if this process has no descriptor left for it; what
/// the peer said when it gave up joining.
UniqueFd try_receive_fd(const Mesh& mesh, WorldRank self, WorldRank from, std::uint64_t tag);

}  // namespace cohort::host
