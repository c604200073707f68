#include "rendezvous/frame_connection.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace cohort::rendezvous {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

int milliseconds_until(steady_clock::time_point deadline) {
  const auto rest = deadline - steady_clock::now();
  if (rest <= steady_clock::duration::zero()) return 0;
  const auto whole = std::chrono::duration_cast<milliseconds>(rest).count() + 1;
  return static_cast<int>(std::min<decltype(whole)>(whole, 60'000));
}

bool FrameConnection::send(std::span<const std::byte> frame, TimePoint deadline) {
  for (std::size_t sent = 0; sent < frame.size();) {
    const ssize_t count =
        ::send(socket_, frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN) {
      if (!wait(POLLOUT, deadline)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

std::optional<Frame> FrameConnection::receive(TimePoint deadline) {
  while (true) {
    if (auto frame = reader_.next()) return frame;
    if (ended_ || !wait(POLLIN, deadline)) return std::nullopt;
    std::array<std::byte, 4096> bytes;
    const ssize_t count = ::recv(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count > 0) {
      reader_.feed(std::span(bytes).first(static_cast<std::size_t>(count)));
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
      ended_ = true;
    }
  }
}

bool FrameConnection::wait(short events, TimePoint deadline) const {
  pollfd polled{socket_, events, 0};
  while (true) {
    const int count = ::poll(&polled, 1, milliseconds_until(deadline));
    if (count > 0) return true;
    if (count == 0 && steady_clock::now() >= deadline) return false;
  }
}

}  // namespace cohort::rendezvous
