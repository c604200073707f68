#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "rendezvous/protocol.hpp"

namespace cohort::rendezvous {

/// Frames over a connected stream socket that somebody else owns. One thread at a time.
class FrameConnection {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit FrameConnection(int socket) noexcept : socket_(socket) {}

  int socket() const noexcept { return socket_; }
  /// Whether the other side has closed its end.
  bool ended() const noexcept { return ended_; }

  /// Sends a whole frame. False if the other side is gone or does not take it in time.
  bool send(std::span<const std::byte> frame, TimePoint deadline);
  /// The next frame; nothing at the deadline or where the other side has ended.
  /// Throws: Error{corrupt} if the other side does not speak in frames.
  std::optional<Frame> receive(TimePoint deadline);
  /// The next frame of those that are here already.
  /// Throws: Error{corrupt}.
  std::optional<Frame> poll() { return receive({}); }

 private:
  bool wait(short events, TimePoint deadline) const;

  int socket_;
  bool ended_ = false;
  FrameReader reader_;
};

/// A time limit for the system's poll: 0 once the deadline has passed, at most a minute.
int milliseconds_until(std::chrono::steady_clock::time_point deadline);

}  // namespace cohort::rendezvous
