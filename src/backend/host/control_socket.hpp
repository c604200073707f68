#pragma once

// Connections between the ranks of one host: abstract Unix sockets (they have no name in any file
// system and vanish with the process) that keep message boundaries and can carry descriptors.

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace cohort::host {

/// A listening socket under a fresh random name, open to `backlog` waiting peers.
struct ControlListener {
  UniqueFd fd;
  std::string name;
};
ControlListener listen_on_random_name(unsigned backlog);

/// Connects to a listener of this host without blocking. Empty if its queue is full for now.
/// Throws: Error{peer_failed} if nobody listens there any more, Error{system}.
std::optional<UniqueFd> try_connect(const std::string& name);

/// Who is at the other end, as the kernel knows it.
struct PeerIdentity {
  uid_t uid = 0;
  pid_t pid = 0;
};
std::optional<PeerIdentity> identify_peer(int fd) noexcept;

/// Sends one message, with a descriptor unless `passed_fd` is -1. False if the peer is gone or
/// cannot take it now: set-up messages are few and small, so a full queue means a broken peer.
bool send_message(int fd, std::span<const std::byte> bytes, int passed_fd = -1) noexcept;

/// One received message. `ended` means that the peer closed its end, `lost_fd` that this process
/// had no room for the descriptor that came with it.
struct Message {
  std::vector<std::byte> bytes;
  UniqueFd passed_fd;
  bool ended = false;
  bool lost_fd = false;
};
/// The next message if one is there. Local, never waits.
std::optional<Message> try_receive(int fd, std::size_t bytes_max);
/// The bytes of the next message, which stays there; empty if there is none.
std::vector<std::byte> peek_message(int fd, std::size_t bytes_max);

/// Fills `bytes` with random bytes from the system.
void fill_random(std::span<std::byte> bytes);
/// Lower-case hexadecimal digits of `bytes`.
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace cohort::host
