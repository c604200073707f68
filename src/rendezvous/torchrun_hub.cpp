#include "rendezvous/torchrun_hub.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "rendezvous/wire.hpp"

namespace cohort::rendezvous {
namespace {

using std::chrono::steady_clock;

// For handing an answer to a rank that waits for it.
constexpr std::chrono::milliseconds kSendPatience{1000};
// Where ranks have failed to meet, for those that are about to connect.
constexpr std::chrono::milliseconds kFarewellPatience{1000};

std::string name_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

}  // namespace

std::vector<std::byte> encode_gather(WorldRank rank, std::uint32_t rank_count, std::uint64_t round,
                                     std::span<const std::byte> mine) {
  wire::Writer writer;
  writer.put(round);
  writer.put_bytes(mine);
  writer.put(rank.index());
  writer.put(rank_count);
  return encode_frame(FrameType::gather, writer.bytes());
}

bool is_of_this_user(int socket) noexcept {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
         peer.uid == ::getuid();
}

int with_abstract_address(const std::string& name,
                          const std::function<int(const void*, std::uint32_t)>& use) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::min(name.size(), sizeof address.sun_path - 1);
  std::memcpy(address.sun_path + 1, name.data(), length);  // a leading 0: no file
  return use(&address, static_cast<std::uint32_t>(offsetof(sockaddr_un, sun_path) + 1 + length));
}

TorchrunHub::TorchrunHub(const TorchrunEnvironment& environment)
    : environment_(environment),
      listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      relay_(environment.rank_count),
      came_(environment.rank_count) {
  came_[0] = true;
  const int bound = with_abstract_address(
      environment_.socket_name, [&](const void* address, std::uint32_t bytes) {
        return ::bind(listener_.get(), static_cast<const sockaddr*>(address), bytes);
      });
  if (bound == 0 && ::listen(listener_.get(), SOMAXCONN) == 0) return;
  if (errno == EADDRINUSE) {
    throw Error(ErrorCode::system,
                "another process of this host is rank 0 of " + environment_.meeting +
                    " already; give one of the jobs another --master-port",
                WorldRank{0}, "join");
  }
  throw Error(ErrorCode::system,
              "could not listen for ranks: " + std::system_category().message(errno), WorldRank{0},
              "join");
}

Frame TorchrunHub::gather(std::uint64_t round, std::span<const std::byte> mine,
                          TimePoint deadline) {
  own_answer_.reset();
  deliver(relay_.on_gather(WorldRank{0}, round, {mine.begin(), mine.end()}));
  while (!own_answer_) {
    if (steady_clock::now() >= deadline) give_up(round);
    wait(deadline);
    accept_peers();
    serve_peers();
  }
  Frame answer = std::move(*own_answer_);
  if (answer.type == FrameType::failed) stay_for_late();
  return answer;
}

void TorchrunHub::stay_for_late() {
  const TimePoint until = steady_clock::now() + kFarewellPatience;
  while (std::ranges::find(came_, false) != came_.end() && steady_clock::now() < until) {
    wait(until);
    accept_peers();
    serve_peers();
  }
}

void TorchrunHub::wait(TimePoint deadline) {
  std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}};
  for (const auto& peer : peers_) polled.push_back({peer->socket.get(), POLLIN, 0});
  ::poll(polled.data(), polled.size(), milliseconds_until(deadline));
}

void TorchrunHub::accept_peers() {
  while (true) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    if (is_of_this_user(socket.get())) peers_.push_back(std::make_unique<Peer>(std::move(socket)));
  }
}

void TorchrunHub::serve_peers() {
  // To serve one looks through all of them, so none goes before all are served.
  std::vector<const Peer*> gone;
  for (const auto& peer : peers_) {
    if (!serve(*peer)) gone.push_back(peer.get());
  }
  std::erase_if(
      peers_, [&](const auto& peer) { return std::ranges::find(gone, peer.get()) != gone.end(); });
}

bool TorchrunHub::serve(Peer& peer) {
  try {
    while (const auto frame = peer.frames.poll()) {
      if (!take_gather(peer, *frame)) return false;
    }
  } catch (const Error&) {
    // Where its next message begins cannot be known any more.
    end_corrupt(peer, "bytes that are no message");
    return false;
  }
  if (!peer.frames.ended()) return true;
  if (!peer.rank) return false;
  const WorldRank rank = *peer.rank;
  end(rank,
      Error(ErrorCode::peer_failed, name_of(rank) + " ended before it had joined", rank, "join"));
  return false;
}

bool TorchrunHub::take_gather(Peer& peer, const Frame& frame) {
  if (frame.type != FrameType::gather) {
    end_corrupt(peer, "a message of a kind that ranks do not send there");
    return false;
  }
  wire::Reader reader(frame.payload);
  const auto round = reader.get<std::uint64_t>();
  const auto bytes = reader.get_bytes();
  const WorldRank rank{reader.get<std::uint32_t>()};
  const auto rank_count = reader.get<std::uint32_t>();
  if (!peer.rank && !meet(peer, rank, rank_count)) return false;
  std::string fault;
  if (!reader.at_end()) fault = "a message with more behind it";
  if (rank != *peer.rank) fault = "a message as " + name_of(rank);
  if (rank_count != environment_.rank_count) {
    fault = "WORLD_SIZE=" + std::to_string(rank_count) + " once it had joined with another";
  }
  // Rounds are taken in turn: one that is left out could only be waited for in vain.
  if (round != peer.next_round) {
    fault = "what is for round " + std::to_string(round) + " of its meetings in round " +
            std::to_string(peer.next_round);
  }
  if (!fault.empty()) {
    end_corrupt(peer, fault);
    return false;
  }
  ++peer.next_round;
  deliver(relay_.on_gather(rank, round, {bytes.begin(), bytes.end()}));
  return true;
}

bool TorchrunHub::meet(Peer& peer, WorldRank rank, std::uint32_t rank_count) {
  const bool taken = rank == WorldRank{0} || std::ranges::any_of(peers_, [&](const auto& other) {
                       return other.get() != &peer && other->rank == rank;
                     });
  // First of all: the rank that is here already has no part in what another says in its name.
  if (taken) {
    refuse(peer, Error(ErrorCode::usage,
                       "two processes have RANK=" + std::to_string(rank.index()) + " with " +
                           environment_.meeting,
                       rank, "join"));
    return false;
  }
  if (rank_count != environment_.rank_count) {
    const Error error(ErrorCode::usage,
                      "WORLD_SIZE is " + std::to_string(rank_count) + " on " + name_of(rank) +
                          " and " + std::to_string(environment_.rank_count) + " on rank 0",
                      rank, "join");
    refuse(peer, error);
    if (rank.index() < environment_.rank_count) end(rank, error);
    return false;
  }
  if (rank.index() >= rank_count) {
    refuse(peer, Error(ErrorCode::usage,
                       "a process has RANK=" + std::to_string(rank.index()) +
                           " with WORLD_SIZE=" + std::to_string(rank_count),
                       std::nullopt, "join"));
    return false;
  }
  peer.rank = rank;
  came_[rank.index()] = true;
  return true;
}

void TorchrunHub::end_corrupt(Peer& peer, const std::string& what) {
  const std::string who = peer.rank ? name_of(*peer.rank) : "a process";
  const Error error(ErrorCode::corrupt,
                    who + " sent " + what + " while ranks met; start all from the same build",
                    peer.rank, "join");
  refuse(peer, error);
  if (peer.rank) deliver(relay_.on_corrupted(*peer.rank, error));
}

void TorchrunHub::end(WorldRank rank, const Error& error) {
  came_[rank.index()] = true;
  deliver(relay_.on_ended(rank, error));
}

void TorchrunHub::refuse(Peer& peer, const Error& error) {
  peer.frames.send(encode_frame(FrameType::failed, encode_error(error)),
                   steady_clock::now() + kSendPatience);
}

void TorchrunHub::deliver(const std::vector<Outgoing>& messages) {
  for (const Outgoing& message : messages) {
    if (message.to == WorldRank{0}) {
      FrameReader reader;
      reader.feed(message.frame);
      own_answer_ = reader.next();
      continue;
    }
    for (const auto& peer : peers_) {
      if (peer->rank != message.to) continue;
      // One that does not take it is found by its end, or finds this rank's at its own deadline.
      peer->frames.send(message.frame, steady_clock::now() + kSendPatience);
    }
  }
}

void TorchrunHub::give_up(std::uint64_t round) {
  const auto answer = relay_.on_ask_missing(WorldRank{0}, round);
  FrameReader reader;
  reader.feed(answer.front().frame);
  const auto frame = reader.next();
  wire::Reader ranks(frame->payload);
  std::vector<WorldRank> missing;
  std::string names;
  while (!ranks.at_end()) {
    missing.emplace_back(ranks.get<std::uint32_t>());
    names += (names.empty() ? "" : ", ") + name_of(missing.back());
  }
  const Error error(ErrorCode::timeout, names + " did not join in time", missing.front(), "join");
  for (const WorldRank rank : missing) deliver(relay_.on_ended(rank, error));
  throw error;
}

}  // namespace cohort::rendezvous
