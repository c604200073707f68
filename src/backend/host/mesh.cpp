#include "backend/host/mesh.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <string>
#include <thread>

#include <cohort/error.hpp>
#include <cohort/version.hpp>

#include "backend/host/control_segment.hpp"
#include "backend/host/control_socket.hpp"
#include "base/pidfd.hpp"
#include "base/test_point.hpp"
#include "rendezvous/wire.hpp"

namespace cohort::host {
namespace {

using TimePoint = Bootstrap::TimePoint;

constexpr std::uint64_t kHelloMagic = 0x6f6c'6c65'6863;      // "chello"
constexpr std::uint64_t kHandshakeMagic = 0x6b61'6873'6863;  // "chshak"
constexpr std::uint64_t kFdMagic = 0x6466'6863;              // "chfd"
constexpr std::size_t kMessageBytesMax = 256;
constexpr std::chrono::milliseconds kPollSlice{50};

std::string name_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

/// What a rank tells all others before they connect.
struct Hello {
  std::uint32_t abi = kControlAbi;
  std::uint64_t layout_bytes = sizeof(ControlSegment) + (sizeof(RankBlock) << 20);
  std::string version = COHORT_VERSION;
  std::string boot_id;
  std::uint64_t network = 0;    // namespace of abstract socket names
  std::uint64_t processes = 0;  // namespace of process ids
  std::int64_t pid = 0;
  std::string socket_name;
  std::string token;  // rank 0's stands for this job
};

std::uint64_t namespace_id(const char* path) {
  struct stat status {};
  return ::stat(path, &status) == 0 ? static_cast<std::uint64_t>(status.st_ino) : 0;
}

Hello my_hello(const ControlListener& listener) {
  Hello hello;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> hello.boot_id;
  hello.network = namespace_id("/proc/self/ns/net");
  hello.processes = namespace_id("/proc/self/ns/pid");
  hello.pid = ::getpid();
  hello.socket_name = listener.name;
  std::array<std::byte, 16> random{};
  fill_random(random);
  hello.token = to_hex(random);
  return hello;
}

// Magic, ABI and version come first and keep their form, so that any two versions can at least
// tell each other apart.
std::vector<std::byte> encode(const Hello& hello) {
  wire::Writer writer;
  writer.put(kHelloMagic);
  writer.put(hello.abi);
  writer.put_text(hello.version);
  writer.put(hello.layout_bytes);
  writer.put_text(hello.boot_id);
  writer.put(hello.network);
  writer.put(hello.processes);
  writer.put(hello.pid);
  writer.put_text(hello.socket_name);
  writer.put_text(hello.token);
  return writer.take();
}

std::string describe_build(const Hello& hello) {
  return "cohort " + hello.version + " (protocol " + std::to_string(hello.abi) + ")";
}

Hello decode(std::span<const std::byte> bytes, WorldRank rank, const Hello& mine) {
  wire::Reader reader(bytes);
  Hello hello;
  if (reader.get<std::uint64_t>() != kHelloMagic) {
    throw Error(ErrorCode::mismatch, name_of(rank) + " is not a rank of cohort", rank, "join");
  }
  hello.abi = reader.get<std::uint32_t>();
  hello.version = reader.get_text();
  if (hello.abi != mine.abi || hello.version != mine.version) {
    throw Error(ErrorCode::mismatch,
                name_of(rank) + " runs " + describe_build(hello) + ", this rank runs " +
                    describe_build(mine) + "; start all ranks from the same build",
                rank, "join");
  }
  hello.layout_bytes = reader.get<std::uint64_t>();
  if (hello.layout_bytes != mine.layout_bytes) {
    throw Error(ErrorCode::mismatch,
                name_of(rank) +
                    " was compiled with another memory layout than this rank, although "
                    "both are " +
                    describe_build(mine) + "; start all ranks from the same build",
                rank, "join");
  }
  hello.boot_id = reader.get_text();
  hello.network = reader.get<std::uint64_t>();
  hello.processes = reader.get<std::uint64_t>();
  hello.pid = reader.get<std::int64_t>();
  hello.socket_name = reader.get_text();
  hello.token = reader.get_text();
  if (hello.boot_id != mine.boot_id || hello.network != mine.network) {
    throw Error(ErrorCode::unsupported,
                name_of(rank) +
                    " runs on another host or in another network namespace; this "
                    "build connects ranks of one host only",
                rank, "join");
  }
  return hello;
}

/// One join in progress on one rank.
class Meeting {
 public:
  Meeting(Bootstrap& bootstrap, TimePoint deadline)
      : rank_(bootstrap.rank()),
        deadline_(deadline),
        listener_(listen_on_random_name(bootstrap.world_size())) {
    const Hello mine = my_hello(listener_);
    const auto hellos = bootstrap.all_gather(encode(mine), deadline);
    for (std::uint32_t rank = 0; rank < hellos.size(); ++rank) {
      hellos_.push_back(decode(hellos[rank], WorldRank{rank}, mine));
    }
    mesh_.peers.resize(hellos.size());
    for (std::uint32_t rank = 0; rank < hellos.size(); ++rank) watch(WorldRank{rank}, mine);
  }

  Mesh run() && {
    test_point("join.connect");
    for (std::uint32_t rank = 0; rank < rank_.index(); ++rank) connect(WorldRank{rank});
    while (missing_count() > 0) accept_more();
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
      fail_gone(to);
    }
    const auto identity = identify_peer(peer.socket.get());
    if (!identity || identity->uid != ::geteuid()) {
      throw Error(ErrorCode::system, name_of(to) + " belongs to another user", to, "join");
    }
    wire::Writer handshake;
    handshake.put(kHandshakeMagic);
    handshake.put(rank_.index());
    handshake.put_text(hellos_[0].token);
    if (!send_message(peer.socket.get(), handshake.bytes())) fail_gone(to);
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

  void accept_one() {
    UniqueFd fd(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
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

void send_fd(const Mesh& mesh, WorldRank to, std::uint64_t tag, int fd) {
  wire::Writer writer;
  writer.put(kFdMagic);
  writer.put(tag);
  if (send_message(mesh.peers[to.index()].socket.get(), writer.bytes(), fd)) return;
  throw Error(ErrorCode::peer_failed, name_of(to) + " does not take messages any more", to);
}

UniqueFd try_receive_fd(const Mesh& mesh, WorldRank from, std::uint64_t tag) {
  auto message = try_receive(mesh.peers[from.index()].socket.get(), kMessageBytesMax);
  if (!message) return {};
  if (message->ended) {
    throw Error(ErrorCode::peer_failed, name_of(from) + " closed its connection", from);
  }
  if (message->lost_fd) {
    throw Error(ErrorCode::system,
                "this process has too many open files for what " + name_of(from) +
                    " shares with it; raise the limit of open files (ulimit -n)",
                from);
  }
  wire::Reader reader(message->bytes);
  const bool is_fd = reader.get<std::uint64_t>() == kFdMagic && message->passed_fd;
  const std::uint64_t sent_tag = is_fd ? reader.get<std::uint64_t>() : 0;
  if (is_fd && sent_tag < tag) return try_receive_fd(mesh, from, tag);
  if (!is_fd || sent_tag != tag) {
    throw Error(ErrorCode::mismatch,
                name_of(from) + " sent a message that does not belong to this step", from);
  }
  return std::move(message->passed_fd);
}

}  // namespace cohort::host
