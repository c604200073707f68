#include "backend/host/control_socket.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "backend/host/system_error.hpp"

namespace cohort::host {
namespace {

UniqueFd new_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw_system_error("open a control socket", "join");
  return fd;
}

/// Abstract address: a zero byte, then the name, without a terminator.
std::pair<sockaddr_un, socklen_t> abstract_address(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.empty() || name.size() > sizeof(address.sun_path) - 1) {
    throw Error(ErrorCode::corrupt, "a rank sent a socket name of impossible length", std::nullopt,
                "join");
  }
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
}

/// Receives once, also from a peer that has closed its end before it read all that was sent to it:
/// the system says so first, and only then gives what that peer had sent.
ssize_t receive_message(int fd, msghdr& message, int flags) {
  bool was_reset = false;
  while (true) {
    const ssize_t received = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
    if (received >= 0) return received;
    if (errno != EINTR && (errno != ECONNRESET || was_reset)) return received;
    was_reset = was_reset || errno == ECONNRESET;
  }
}

}  // namespace

ControlListener listen_on_random_name(unsigned backlog) {
  std::array<std::byte, 16> random{};
  fill_random(random);
  ControlListener listener{new_socket(), "cohort-" + to_hex(random)};
  const auto [address, bytes] = abstract_address(listener.name);
  if (::bind(listener.fd.get(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0 ||
      ::listen(listener.fd.get(), static_cast<int>(backlog)) != 0) {
    throw_system_error("listen on a control socket", "join");
  }
  return listener;
}

std::optional<UniqueFd> try_connect(const std::string& name) {
  UniqueFd fd = new_socket();
  const auto [address, bytes] = abstract_address(name);
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return std::nullopt;
    if (errno == ECONNREFUSED) {
      throw Error(ErrorCode::peer_failed, "nobody listens any more", std::nullopt, "join");
    }
    throw_system_error("connect a control socket", "join");
  }
  return fd;
}

std::optional<PeerIdentity> identify_peer(int fd) noexcept {
  ucred credentials{};
  socklen_t bytes = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) return std::nullopt;
  return PeerIdentity{credentials.uid, credentials.pid};
}

bool send_message(int fd, std::span<const std::byte> bytes, int passed_fd) noexcept {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (passed_fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &passed_fd, sizeof passed_fd);
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(bytes.size());
}

std::optional<Message> try_receive(int fd, std::size_t bytes_max) {
  Message result;
  result.bytes.resize(bytes_max);
  iovec part{result.bytes.data(), result.bytes.size()};
  // Room for one descriptor: the kernel closes what a peer sends beyond that.
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t received = receive_message(fd, message, 0);
  if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  result.ended = received <= 0;
  result.bytes.resize(received > 0 ? static_cast<std::size_t>(received) : 0);
  for (cmsghdr* header = received < 0 ? nullptr : CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    if (header->cmsg_len != CMSG_LEN(sizeof(int))) continue;
    int passed = -1;
    std::memcpy(&passed, CMSG_DATA(header), sizeof passed);
    result.passed_fd.reset(passed);
  }
  result.lost_fd = !result.passed_fd && (message.msg_flags & MSG_CTRUNC) != 0;
  return result;
}

std::vector<std::byte> peek_message(int fd, std::size_t bytes_max) {
  std::vector<std::byte> bytes(bytes_max);
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t received = receive_message(fd, message, MSG_PEEK);
  bytes.resize(received > 0 ? static_cast<std::size_t>(received) : 0);
  return bytes;
}

void fill_random(std::span<std::byte> bytes) {
  for (std::size_t filled = 0; filled < bytes.size();) {
    const ssize_t count = ::getrandom(bytes.data() + filled, bytes.size() - filled, 0);
    if (count > 0) filled += static_cast<std::size_t>(count);
    if (count < 0 && errno != EINTR) throw_system_error("get random bytes", "join");
  }
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte value : bytes) {
    text += kDigits[std::to_integer<std::size_t>(value >> 4)];
    text += kDigits[std::to_integer<std::size_t>(value & std::byte{15})];
  }
  return text;
}

}  // namespace cohort::host
