#include "backend/host/mesh.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <thread>

#include <cohort/error.hpp>

#include "backend/host/control_socket.hpp"
#include "backend/host/hello.hpp"
#include "backend/host/system_error.hpp"
#include "base/pidfd.hpp"
#include "base/test_message.hpp"
#include "base/test_point.hpp"
#include "rendezvous/wire.hpp"

namespace cohort::host {
namespace {

using TimePoint = Bootstrap::TimePoint;

constexpr std::uint64_t kHandshakeMagic = 0x6b61'6873'6863;  // "chshak"
constexpr std::uint64_t kFdMagic = 0x6466'6863;              // "chfd"
constexpr std::size_t kMessageBytesMax = 1024;
constexpr std::chrono::milliseconds kPollSlice{50};
// A rank that gives up joining stays this long for those that are about to connect.
constexpr std::chrono::milliseconds kFarewellPatience{1000};

std::string name_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

/// A rank that cannot even say where it listens says why instead: nobody has to wait for it.
ControlListener listen_or_say_why(Bootstrap& bootstrap, TimePoint deadline) {
  try {
    test_point("join.meet");
    return listen_on_random_name(bootstrap.world_size());
  } catch (const std::exception& error) {
    const Error mine = error_of_joining(error, bootstrap.rank());
    bootstrap.all_gather(encode_farewell(mine), deadline);
    throw mine;
  }
}

/// One join in progress on one rank.
class Meeting {
 public:
  Meeting(Bootstrap& bootstrap, TimePoint deadline)
      : rank_(bootstrap.rank()),
        deadline_(deadline),
        listener_(listen_or_say_why(bootstrap, deadline)) {
    const Hello mine = my_hello(listener_);
    std::vector<std::byte> message = encode(mine);
    int no_fd = -1;
    test_message("join.hello", message, no_fd);
    const auto hellos = bootstrap.all_gather(message, deadline);
    for (std::uint32_t rank = 0; rank < hellos.size(); ++rank) {
      hellos_.push_back(decode_hello(hellos[rank], WorldRank{rank}, mine));
    }
    mesh_.peers.resize(hellos.size());
    for (std::uint32_t rank = 0; rank < hellos.size(); ++rank) watch(WorldRank{rank}, mine);
  }

  Mesh run() && {
    try {
      test_point("join.connect");
      for (std::uint32_t rank = 0; rank < rank_.index(); ++rank) connect(WorldRank{rank});
      test_point("join.accept");
      while (missing_count() > 0) accept_more();
    } catch (const std::exception& exception) {
      const Error error = error_of_joining(exception, rank_);
      give_up(error);
      throw error;
    }
    return std::move(mesh_);
  }

 private:
  bool is_self(std::size_t rank) const noexcept { return rank == rank_.index(); }

  void watch(WorldRank rank, const Hello& mine) {
    const Hello& hello = hellos_[rank.index()];
    MeshPeer& peer = mesh_.peers[rank.index()];
    const bool same_namespace = hello.processes == mine.processes;
    peer.in_this_process = same_namespace && hello.pid == mine.pid;
    if (peer.in_this_process || !same_namespace) return;
    peer.process = open_pidfd(static_cast<pid_t>(hello.pid));
    // It may have died, and its parent have seen it, since it said hello.
    if (!peer.process && errno == ESRCH) fail_gone(rank);
    // Without a pidfd (an old kernel, a strict sandbox) the connection's end still tells.
  }

  void connect(WorldRank to) {
    MeshPeer& peer = mesh_.peers[to.index()];
    try {
      while (true) {
        if (auto socket = try_connect(hellos_[to.index()].socket_name)) {
          peer.socket = std::move(*socket);
          break;
        }
        if (std::chrono::steady_clock::now() >= deadline_) fail_late(to);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::peer_failed) throw;
      fail_refused(to);
    }
    const auto identity = identify_peer(peer.socket.get());
    if (!identity || identity->uid != ::geteuid()) {
      throw Error(ErrorCode::system, name_of(to) + " belongs to another user", to, "join");
    }
    if (!shake_hands(peer)) fail_gone(to);
  }

  bool shake_hands(const MeshPeer& peer) const {
    wire::Writer handshake;
    handshake.put(kHandshakeMagic);
    handshake.put(rank_.index());
    handshake.put_text(hellos_[0].token);
    std::vector<std::byte> message = handshake.take();
    int no_fd = -1;
    test_message("join.handshake", message, no_fd);
    return send_message(peer.socket.get(), message, no_fd);
  }

  /// Tells the others why this rank leaves: those that it is connected with, those it would have
  /// connected to, and those that connect within a moment. Whoever is not reached waits in vain.
  void give_up(const Error& why) noexcept {
    try {
      // Where descriptors have run out these make room for a last word to somebody.
      for (MeshPeer& peer : mesh_.peers) peer.process.reset();
      for (std::uint32_t rank = 0; rank < rank_.index(); ++rank) {
        MeshPeer& peer = mesh_.peers[rank];
        if (peer.socket || why.rank() == WorldRank{rank}) continue;
        auto socket = try_connect(hellos_[rank].socket_name);
        if (!socket) continue;
        peer.socket = std::move(*socket);
        shake_hands(peer);
      }
      const auto patience =
          std::min(deadline_, std::chrono::steady_clock::now() + kFarewellPatience);
      while (others_are_missing(why) && std::chrono::steady_clock::now() < patience) {
        pollfd polled{listener_.fd.get(), POLLIN, 0};
        ::poll(&polled, 1, 10);
        if (polled.revents != 0) accept_one();
        for (UniqueFd& stranger : strangers_) hear_out(stranger);
        std::erase_if(strangers_, [](const UniqueFd& fd) { return !fd; });
      }
    } catch (const std::exception&) {
      // Those who are connected can be told all the same.
    }
    say_farewell(mesh_, why);
  }

  bool others_are_missing(const Error& why) const {
    const std::size_t about = why.rank() && why.rank()->index() > rank_.index() &&
                                      why.rank()->index() < mesh_.peers.size() &&
                                      !mesh_.peers[why.rank()->index()].socket
                                  ? 1
                                  : 0;
    return missing_count() > about;
  }

  std::size_t missing_count() const noexcept {
    std::size_t count = 0;
    for (std::size_t rank = rank_.index() + 1; rank < mesh_.peers.size(); ++rank) {
      if (!mesh_.peers[rank].socket) ++count;
    }
    return count;
  }

  WorldRank first_missing() const noexcept {
    std::uint32_t rank = rank_.index() + 1;
    while (mesh_.peers[rank].socket) ++rank;
    return WorldRank{rank};
  }

  /// Waits a moment for connections, first messages and ends of processes, and takes them in.
  void accept_more() {
    std::vector<pollfd> polled{{listener_.fd.get(), POLLIN, 0}};
    for (const UniqueFd& stranger : strangers_) polled.push_back({stranger.get(), POLLIN, 0});
    const std::size_t first_process = polled.size();
    for (const MeshPeer& peer : mesh_.peers) polled.push_back({peer.process.get(), POLLIN, 0});
    heed_farewells();
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline_) fail_late(first_missing());
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - now);
    const auto slice = std::min(rest + std::chrono::milliseconds(1), kPollSlice);
    ::poll(polled.data(), polled.size(), static_cast<int>(slice.count()));
    for (std::size_t rank = 0; rank < mesh_.peers.size(); ++rank) {
      if (polled[first_process + rank].revents != 0) {
        fail_gone(WorldRank{static_cast<std::uint32_t>(rank)});
      }
    }
    for (UniqueFd& stranger : strangers_) hear_out(stranger);
    std::erase_if(strangers_, [](const UniqueFd& fd) { return !fd; });
    if (polled[0].revents != 0) accept_one();
  }

  /// A peer that gives up says so as the first thing after its handshake.
  void heed_farewells() const {
    for (const MeshPeer& peer : mesh_.peers) {
      if (!peer.socket) continue;
      if (const auto farewell = peek_farewell(peer.socket.get())) throw *farewell;
    }
  }

  void accept_one() {
    UniqueFd fd(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    if (!fd && exhausted) throw_system_error("accept a connection of another rank", "join");
    if (!fd) return;
    const auto identity = identify_peer(fd.get());
    if (!identity || identity->uid != ::geteuid()) return;
    strangers_.push_back(std::move(fd));
  }

  /// Takes a connection for the rank it proves to be; drops it if it proves nothing. The name is
  /// visible to every process of the host, so anybody may connect and say anything.
  void hear_out(UniqueFd& stranger) {
    auto message = try_receive(stranger.get(), kMessageBytesMax);
    if (!message) return;
    UniqueFd socket = std::move(stranger);
    if (message->ended) return;
    try {
      wire::Reader reader(message->bytes);
      if (reader.get<std::uint64_t>() != kHandshakeMagic) return;
      const auto rank = reader.get<std::uint32_t>();
      const bool expected = rank > rank_.index() && rank < mesh_.peers.size();
      if (!expected || reader.get_text() != hellos_[0].token) return;
      UniqueFd& place = mesh_.peers[rank].socket;
      if (!place) place = std::move(socket);
    } catch (const Error&) {
      return;  // a message that is too short: not one of ours
    }
  }

  [[noreturn]] void fail_late(WorldRank peer) const {
    throw Error(ErrorCode::timeout, name_of(rank_) + " waited for " + name_of(peer) + " to connect",
                peer, "join");
  }
  /// `peer` does not listen any more. If its process lives it has given up, and its reason is
  /// about to be known here as well.
  [[noreturn]] void fail_refused(WorldRank peer) const {
    const auto patience = std::min(deadline_, std::chrono::steady_clock::now() + kFarewellPatience);
    while (mesh_.peers[peer.index()].process && std::chrono::steady_clock::now() < patience) {
      for (std::uint32_t rank = 0; rank < mesh_.peers.size(); ++rank) {
        const MeshPeer& other = mesh_.peers[rank];
        if (other.process && has_ended(other)) fail_gone(WorldRank{rank});
      }
      heed_farewells();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    fail_gone(peer);
  }
  [[noreturn]] void fail_gone(WorldRank peer) const {
    throw Error(ErrorCode::peer_failed,
                name_of(peer) + " ended while joining (" + name_of(rank_) + " was waiting for " +
                    name_of(peer) + " in join)",
                peer, "join");
  }

  WorldRank rank_;
  TimePoint deadline_;
  ControlListener listener_;
  std::vector<Hello> hellos_;
  std::vector<UniqueFd> strangers_;
  Mesh mesh_;
};

}  // namespace

Mesh meet(Bootstrap& bootstrap, TimePoint deadline) {
  return Meeting(bootstrap, deadline).run();
}

void say_farewell(const Mesh& mesh, const Error& error) noexcept {
  try {
    const std::vector<std::byte> message = encode_farewell(error);
    for (const MeshPeer& peer : mesh.peers) {
      if (peer.socket) send_message(peer.socket.get(), message);
    }
  } catch (const std::bad_alloc&) {
    // They learn of this rank's end all the same, only not why.
  }
}

std::optional<Error> peek_farewell(int socket) noexcept {
  try {
    return decode_farewell(peek_message(socket, kMessageBytesMax));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

bool has_ended(const MeshPeer& peer) noexcept {
  if (!peer.process) return true;
  pollfd polled{peer.process.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) != 0;
}

void send_fd(const Mesh& mesh, WorldRank to, std::uint64_t tag, int fd) {
  wire::Writer writer;
  writer.put(kFdMagic);
  writer.put(tag);
  std::vector<std::byte> message = writer.take();
  test_message("descriptor", message, fd);
  if (send_message(mesh.peers[to.index()].socket.get(), message, fd)) return;
  throw Error(ErrorCode::peer_failed, name_of(to) + " does not take messages any more", to);
}

UniqueFd try_receive_fd(const Mesh& mesh, WorldRank self, WorldRank from, std::uint64_t tag) {
  const int socket = mesh.peers[from.index()].socket.get();
  if (const auto farewell = peek_farewell(socket)) throw *farewell;
  auto message = try_receive(socket, kMessageBytesMax);
  if (!message) return {};
  if (message->ended) {
    throw Error(ErrorCode::peer_failed, name_of(from) + " closed its connection", from);
  }
  if (message->lost_fd) {
    throw Error(ErrorCode::system,
                name_of(self) + " has too many open files for what " + name_of(from) +
                    " shares with it; raise the limit of open files (ulimit -n)",
                self);
  }
  constexpr std::size_t kFdMessageBytes = sizeof kFdMagic + sizeof tag;
  wire::Reader reader(message->bytes);
  const bool is_fd = message->bytes.size() == kFdMessageBytes && message->passed_fd &&
                     reader.get<std::uint64_t>() == kFdMagic;
  const std::uint64_t sent_tag = is_fd ? reader.get<std::uint64_t>() : 0;
  if (is_fd && sent_tag < tag) return try_receive_fd(mesh, self, from, tag);
  if (!is_fd || sent_tag != tag) {
    throw Error(ErrorCode::mismatch,
                name_of(from) + " sent a message that does not belong to this step", from);
  }
  return std::move(message->passed_fd);
}

}  // namespace cohort::host
