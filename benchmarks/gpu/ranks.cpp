#include "ranks.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>
#include <stdexcept>

namespace cohort::gpu_bench {

struct SharedPlace {
  std::atomic<std::uint32_t> arrived{0};
  std::atomic<std::uint32_t> turn{0};
  std::array<double, kRanksMax> numbers{};
  std::array<std::size_t, kRanksMax> sizes{};
  std::array<std::array<char, kMessageBytes>, kRanksMax> messages{};
};

namespace {

using Sockets = std::array<std::array<int, kRanksMax>, kRanksMax>;

Sockets connect_all(std::uint32_t count) {
  Sockets sockets{};
  for (auto& row : sockets) row.fill(-1);
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t j = i + 1; j < count; ++j) {
      std::array<int, 2> pair{};
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
        throw std::runtime_error("socketpair failed");
      sockets[i][j] = pair[0];
      sockets[j][i] = pair[1];
    }
  }
  return sockets;
}

struct FdMessage {
  char byte = 'x';
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  FdMessage() {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
};

void send_fd(int socket, int descriptor) {
  FdMessage message;
  cmsghdr* place = CMSG_FIRSTHDR(&message.header);
  place->cmsg_level = SOL_SOCKET;
  place->cmsg_type = SCM_RIGHTS;
  place->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(place), &descriptor, sizeof(descriptor));
  if (::sendmsg(socket, &message.header, MSG_NOSIGNAL) != 1)
    throw std::runtime_error("a descriptor could not be sent");
}

UniqueFd receive_fd(int socket) {
  FdMessage message;
  const cmsghdr* place = nullptr;
  if (::recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC) == 1)
    place = CMSG_FIRSTHDR(&message.header);
  if (place == nullptr || place->cmsg_type != SCM_RIGHTS)
    throw std::runtime_error("a descriptor could not be received");
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(place), sizeof(descriptor));
  return UniqueFd(descriptor);
}

}  // namespace

Ranks Ranks::fork_all(std::uint32_t count, double seconds_max) {
  if (count < 2 || count > kRanksMax) throw std::runtime_error("2 to 8 ranks can be measured");
  void* memory = ::mmap(nullptr, sizeof(SharedPlace), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no shared memory for the ranks");
  const Sockets sockets = connect_all(count);
  Ranks ranks;
  ranks.count_ = count;
  ranks.seconds_max_ = seconds_max;
  ranks.place_ = new (memory) SharedPlace;
  const pid_t parent = ::getpid();
  for (std::uint32_t rank = 1; rank < count; ++rank) {
    const pid_t child = ::fork();
    if (child < 0) throw std::runtime_error("fork failed");
    if (child == 0) {
      // What rank 0 leaves behind must not go on using a GPU.
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      ranks.rank_ = rank;
      ranks.children_.clear();
      break;
    }
    ranks.children_.push_back(child);
  }
  ranks.sockets_ = sockets[ranks.rank_];
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t j = 0; j < count; ++j) {
      if (i != ranks.rank_ && i != j) ::close(sockets[i][j]);
    }
  }
  return ranks;
}

void Ranks::barrier() {
  const std::uint32_t turn = place_->turn.load();
  if (place_->arrived.fetch_add(1) == count_ - 1) {
    place_->arrived = 0;
    place_->turn = turn + 1;
    return;
  }
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t spins = 1; place_->turn.load() == turn; ++spins) {
    if (spins % 1024 != 0) continue;
    ::sched_yield();
    if (spins % (1 << 20) == 0) end_if_child_has();
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
    if (waited.count() < seconds_max_) continue;
    std::fprintf(stderr, "rank %u: another rank has not come for %.0f s\n", rank_, seconds_max_);
    ::_exit(1);
  }
}

void Ranks::end_if_child_has() const {
  for (const int child : children_) {
    if (::waitpid(child, nullptr, WNOHANG) != child) continue;
    std::fprintf(stderr, "another rank has ended\n");
    ::_exit(1);
  }
}

double Ranks::max(double mine) {
  place_->numbers[rank_] = mine;
  barrier();
  const double most = *std::max_element(place_->numbers.begin(), place_->numbers.begin() + count_);
  barrier();
  return most;
}

void Ranks::broadcast(void* data, std::size_t bytes) {
  if (bytes > kMessageBytes) throw std::runtime_error("a message of the ranks is too long");
  if (rank_ == 0) std::memcpy(place_->messages[0].data(), data, bytes);
  barrier();
  std::memcpy(data, place_->messages[0].data(), bytes);
  barrier();
}

std::vector<std::vector<std::byte>> Ranks::gather(std::span<const std::byte> mine) {
  if (mine.size() > kMessageBytes) throw std::runtime_error("a message of the ranks is too long");
  place_->sizes[rank_] = mine.size();
  std::memcpy(place_->messages[rank_].data(), mine.data(), mine.size());
  barrier();
  std::vector<std::vector<std::byte>> all(count_);
  for (std::uint32_t rank = 0; rank < count_; ++rank) {
    all[rank].resize(place_->sizes[rank]);
    std::memcpy(all[rank].data(), place_->messages[rank].data(), all[rank].size());
  }
  barrier();
  return all;
}

std::string Ranks::first_text(const std::string& mine) {
  auto& place = place_->messages[rank_];
  const std::size_t bytes = std::min(mine.size(), std::size_t{1000});
  std::memcpy(place.data(), mine.data(), bytes);
  place[bytes] = 0;
  barrier();
  std::string found;
  for (std::uint32_t rank = 0; rank < count_ && found.empty(); ++rank) {
    const std::string text = place_->messages[rank].data();
    if (!text.empty()) found = "rank " + std::to_string(rank) + ": " + text;
  }
  barrier();
  return found;
}

std::vector<UniqueFd> Ranks::exchange(int descriptor) {
  for (std::uint32_t rank = 0; rank < count_; ++rank) {
    if (rank != rank_) send_fd(sockets_[rank], descriptor);
  }
  std::vector<UniqueFd> received(count_);
  for (std::uint32_t rank = 0; rank < count_; ++rank) {
    if (rank != rank_) received[rank] = receive_fd(sockets_[rank]);
  }
  barrier();
  return received;
}

int Ranks::finish(int status) {
  std::fflush(nullptr);
  if (rank_ != 0) ::_exit(status);
  for (const int child : children_) {
    int ended = 0;
    ::waitpid(child, &ended, 0);
    status = std::max(status, WIFEXITED(ended) ? WEXITSTATUS(ended) : 1);
  }
  return status;
}

}  // namespace cohort::gpu_bench
