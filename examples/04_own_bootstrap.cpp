// An engine that has a control plane already lets cohort's ranks meet over it: all that is needed
// is one all-gather of bytes with a deadline. Here it is a star of Unix sockets between a process
// and the children that it forks; it is used while joining and never again.

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>

#include <cohort/cohort.hpp>

using namespace cohort;

namespace {

using Bytes = std::vector<std::byte>;
constexpr std::uint32_t kRanks = 3;

/// One end of a socket pair, on which both sides have until the deadline.
class Link {
 public:
  Link(int socket, WorldRank peer, Bootstrap::TimePoint deadline) : socket_(socket), peer_(peer) {
    const auto rest = std::chrono::duration_cast<std::chrono::microseconds>(
        deadline - std::chrono::steady_clock::now());
    const auto micros = std::max<std::int64_t>(rest.count(), 1);
    const timeval limit{.tv_sec = micros / 1'000'000, .tv_usec = micros % 1'000'000};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }

  void send(const Bytes& bytes) const {
    const std::uint64_t size = bytes.size();
    check(::send(socket_, &size, sizeof size, MSG_NOSIGNAL), sizeof size);
    check(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL), bytes.size());
  }

  Bytes receive() const {
    std::uint64_t size = 0;
    check(::recv(socket_, &size, sizeof size, MSG_WAITALL), sizeof size);
    Bytes bytes(size);
    check(::recv(socket_, bytes.data(), size, MSG_WAITALL), size);
    return bytes;
  }

 private:
  void check(ssize_t done, std::size_t wanted) const {
    if (done >= 0 && static_cast<std::size_t>(done) == wanted) return;
    const bool late = done < 0 && errno == EAGAIN;
    throw Error(late ? ErrorCode::timeout : ErrorCode::peer_failed,
                "rank " + std::to_string(peer_.index()) + (late ? " is late" : " is gone"), peer_,
                "join");
  }

  int socket_;
  WorldRank peer_;
};

/// Rank 0 has a socket to each of the others, which have one to rank 0.
std::vector<Bytes> all_gather(WorldRank rank, const std::vector<int>& sockets,
                              std::span<const std::byte> mine, Bootstrap::TimePoint deadline) {
  std::vector<Bytes> all(kRanks);
  all[rank.index()].assign(mine.begin(), mine.end());
  if (rank != WorldRank{0}) {
    const Link hub(sockets[0], WorldRank{0}, deadline);
    hub.send(all[rank.index()]);
    for (Bytes& bytes : all) bytes = hub.receive();
    return all;
  }
  for (std::uint32_t peer = 1; peer < kRanks; ++peer) {
    all[peer] = Link(sockets[peer], WorldRank{peer}, deadline).receive();
  }
  for (std::uint32_t peer = 1; peer < kRanks; ++peer) {
    const Link link(sockets[peer], WorldRank{peer}, deadline);
    for (const Bytes& bytes : all) link.send(bytes);
  }
  return all;
}

int run_rank(WorldRank rank, const std::vector<int>& sockets) try {
  World world = World::join(Bootstrap::from_callback(
      rank, kRanks, [&](std::span<const std::byte> mine, Bootstrap::TimePoint deadline) {
        return all_gather(rank, sockets, mine, deadline);
      }));
  Plan plan(Layout(LayoutSizes{.tp = kRanks}));
  const SlotId slot = plan.slot(
      "ids",
      {.groups = {GroupKind::tp}, .dtype = DType::i32, .rows_max = kRanks, .row_elements = 1});
  Session session = commit(world, plan);
  const Buffer ids = session.take(slot);
  ids.as<std::int32_t>()[rank.index()] = static_cast<std::int32_t>(100 + rank.index());
  const Verdict verdict =
      session.group(GroupKind::tp).all_gather(ids.rows(rank.index(), 1), ids.rows(0, kRanks));
  if (rank == WorldRank{0}) {
    std::cout << "gathered";
    for (std::uint32_t i = 0; i < kRanks; ++i) std::cout << ' ' << ids.as<std::int32_t>()[i];
    std::cout << " by " << to_string(verdict.path) << '\n';
  }
  session.close();
  return 0;
} catch (const Error& error) {
  std::cerr << "rank " << rank.index() << ": " << error.what() << '\n';
  return error.exit_code();
}

}  // namespace

int main() {
  std::vector<int> to_children(kRanks, -1);
  for (std::uint32_t rank = 1; rank < kRanks; ++rank) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
    const pid_t child = ::fork();
    if (child < 0) return 1;
    if (child == 0) {
      for (std::uint32_t other = 1; other < rank; ++other) ::close(to_children[other]);
      ::close(pair[0]);
      return run_rank(WorldRank{rank}, {pair[1]});
    }
    ::close(pair[1]);
    to_children[rank] = pair[0];
  }
  int outcome = run_rank(WorldRank{0}, to_children);
  for (int status = 0; ::wait(&status) > 0;) {
    if (status != 0) outcome = 1;
  }
  return outcome;
}
