// Set-up exchanges: bytes through mailboxes in the control segment, descriptors through the control
// connections, and the outcome of a generation through the commit word.

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "backend/host/domain_state.hpp"
#include "backend/host/system_error.hpp"
#include "backend/host/wait_mark.hpp"
#include "base/test_message.hpp"
#include "base/test_point.hpp"

namespace cohort::host {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPollSlice{20};
// Far more than a rank has to say; what a broken one says must not keep the others busy for ever.
constexpr std::uint64_t kMessageBytesMax = std::uint64_t{64} << 20;

std::uint32_t rounds_for(std::uint64_t total_bytes) noexcept {
  const std::uint64_t rounds =
      (total_bytes + MailChunk::kCapacityBytes - 1) / MailChunk::kCapacityBytes;
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(rounds, 1));
}

void write_chunk(MailChunk& chunk, std::span<const std::byte> message, std::uint32_t round,
                 std::string_view phase) noexcept {
  const std::size_t begin =
      std::min(message.size(), std::size_t{round} * MailChunk::kCapacityBytes);
  const std::size_t bytes = std::min(message.size() - begin, MailChunk::kCapacityBytes);
  chunk.total_bytes = message.size();
  chunk.chunk_bytes = static_cast<std::uint32_t>(bytes);
  chunk.phase_bytes = static_cast<std::uint32_t>(std::min(phase.size(), chunk.phase.size()));
  std::memcpy(chunk.phase.data(), phase.data(), chunk.phase_bytes);
  if (bytes > 0) std::memcpy(chunk.bytes.data(), message.data() + begin, bytes);
}

std::string_view phase_of(const MailChunk& chunk) noexcept {
  return {chunk.phase.data(), std::min<std::size_t>(chunk.phase_bytes, chunk.phase.size())};
}

}  // namespace

std::vector<std::vector<std::byte>> Domain::all_gather(std::span<const std::byte> mine,
                                                       std::string_view phase, TimePoint deadline) {
  std::vector<std::vector<std::byte>> messages(rank_count_);
  RankBlock& own = state_->block(rank_);
  std::uint32_t round_count = rounds_for(mine.size());
  for (std::uint32_t round = 0; round < round_count; ++round) {
    const std::uint32_t number = ++state_->round;
    write_chunk(own.chunks[number % 2], mine, round, phase);
    test_words(phase, bytes_of_object(own.chunks[number % 2]));
    own.published.store(number, std::memory_order_seq_cst);
    wake();
    for (std::uint32_t index = 0; index < rank_count_; ++index) {
      const WorldRank peer{index};
      const RankBlock& block = state_->block(peer);
      const auto published = [&] {
        // As a difference, so that the count may wrap.
        return static_cast<std::int32_t>(block.published.load(std::memory_order_seq_cst) -
                                         number) >= 0;
      };
      deadline = wait_until(peer, deadline, published, [&] {
        return WaitSubject{phase, std::string(phase)};
      });
      const MailChunk& chunk = block.chunks[number % 2];
      const std::string theirs(phase_of(chunk));
      // If the attempt is over, the peer may already be writing its next message here.
      check_attempt();
      if (theirs != phase.substr(0, chunk.phase.size())) {
        fail(Error(ErrorCode::mismatch,
                   name_of(peer) + " is in " + theirs + " while " + name_of(rank_) + " is in " +
                       std::string(phase),
                   peer, std::string(phase)));
      }
      const std::size_t bytes = std::min<std::size_t>(chunk.chunk_bytes, chunk.bytes.size());
      messages[index].insert(messages[index].end(), chunk.bytes.begin(),
                             chunk.bytes.begin() + static_cast<std::ptrdiff_t>(bytes));
      const std::uint64_t total_bytes = chunk.total_bytes;
      const std::uint64_t chunk_bytes = chunk.chunk_bytes;
      check_attempt();
      const std::uint64_t before = std::uint64_t{round} * MailChunk::kCapacityBytes;
      const std::uint64_t rest = total_bytes - std::min(before, total_bytes);
      if (total_bytes > kMessageBytesMax ||
          chunk_bytes != std::min<std::uint64_t>(rest, MailChunk::kCapacityBytes)) {
        fail(Error(ErrorCode::corrupt,
                   name_of(peer) + " sent a broken message in " + std::string(phase) + ": " +
                       std::to_string(chunk_bytes) + " of " + std::to_string(total_bytes) +
                       " bytes",
                   peer, std::string(phase)));
      }
      round_count = std::max(round_count, rounds_for(total_bytes));
    }
  }
  return messages;
}

std::vector<UniqueFd> Domain::all_gather_fd(int fd, std::string_view phase, TimePoint deadline) {
  ++state_->fd_tag;
  test_point("map.send");
  for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
    if (WorldRank{rank} == rank_) continue;
    try {
      send_fd(state_->mesh, WorldRank{rank}, state_->fd_tag, fd);
    } catch (const Error& error) {
      check(phase, phase);
      fail(Error(error.code(), error.what(), error.rank(), std::string(phase)));
    }
  }
  test_point("map.receive");
  std::vector<UniqueFd> gathered;
  for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
    if (WorldRank{rank} != rank_) {
      gathered.push_back(receive_fd(WorldRank{rank}, phase, deadline));
      continue;
    }
    gathered.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!gathered.back()) throw_system_error("duplicate a descriptor", std::string(phase));
  }
  return gathered;
}

UniqueFd Domain::receive_fd(WorldRank from, std::string_view phase, TimePoint deadline) {
  const TimePoint started = deadline_clock();
  const WaitSubject subject{phase, std::string(phase)};
  pollfd polled{state_->mesh.peers[from.index()].socket.get(), POLLIN, 0};
  WaitMark mark(state_->block(rank_), from, started);
  while (true) {
    check("waiting for " + name_of(from) + " in " + subject.text, phase);
    try {
      if (UniqueFd fd = try_receive_fd(state_->mesh, rank_, from, state_->fd_tag)) return fd;
    } catch (const Error& error) {
      fail(Error(error.code(), error.what(), error.rank(), std::string(phase)));
    }
    check_attempt();
    look_at(
        mark, [&] { return WaitSubject(subject); }, setup_stall());
    if (deadline_clock() >= deadline) {
      fail_wait(late(from, started, subject),
                "waiting for " + name_of(from) + " in " + subject.text);
    }
    ::poll(&polled, 1, static_cast<int>(kPollSlice.count()));
  }
}

std::uint32_t Domain::next_generation() const noexcept {
  return state_->generation + 1;
}

CommitOutcome Domain::decide(std::uint32_t generation, bool ready, TimePoint deadline) {
  std::atomic<std::uint64_t>& word = state_->segment().commit;
  begin_generation(generation);
  const std::uint64_t seen = word.load(std::memory_order_seq_cst);
  if (!commit_word::outcome(seen, generation) && !commit_word::is_pending(seen, generation)) {
    throw Error(ErrorCode::usage,
                "generation " + std::to_string(generation) + " cannot follow generation " +
                    std::to_string(commit_word::generation(seen)),
                std::nullopt, "commit");
  }
  const auto settle = [&](CommitOutcome outcome) { settle_generation(generation, outcome); };
  const auto pending = [&] {
    return commit_word::is_pending(word.load(std::memory_order_seq_cst), generation);
  };
  if (!ready) settle(CommitOutcome::aborted);
  if (ready) {
    state_->block(rank_).ready_generation.store(generation, std::memory_order_seq_cst);
    wake();
  }
  std::optional<WaitMark> mark;
  for (std::uint32_t rank = 0; pending();) {
    const WorldRank peer{rank};
    const auto peer_ready = [&] {
      return state_->block(peer).ready_generation.load(std::memory_order_seq_cst) == generation;
    };
    if (peer_ready()) {
      if (++rank == rank_count_) settle(CommitOutcome::committed);
    } else if (poisoned() || state_->rank_state(peer) != RankState::joined) {
      note_abort(generation, Error(ErrorCode::peer_failed, name_of(peer) + " left or died", peer));
      settle(CommitOutcome::aborted);
    } else if (deadline_clock() >= deadline) {
      note_abort(generation, Error(ErrorCode::timeout,
                                   name_of(peer) + " was not ready for generation " +
                                       std::to_string(generation) + " by the deadline",
                                   peer));
      settle(CommitOutcome::aborted);
    } else {
      if (!mark || mark->peer() != peer) {
        mark.reset();
        mark.emplace(state_->block(rank_), peer, deadline_clock());
      }
      look_at(
          *mark,
          [&] {
            return WaitSubject{"commit", "commit of generation " + std::to_string(generation)};
          },
          setup_stall());
      sleep_once(peer, std::min(deadline_clock() + milliseconds(100), deadline),
                 [&] { return peer_ready() || !pending(); });
    }
  }
  const auto outcome = commit_word::outcome(word.load(std::memory_order_seq_cst), generation);
  if (!outcome) {
    fail(Error(ErrorCode::system,
               "the outcome of generation " + std::to_string(generation) +
                   " is forgotten: the other ranks are far ahead",
               std::nullopt, "commit"));
  }
  state_->generation = generation;
  if (*outcome == CommitOutcome::committed) {
    state_->block(rank_).health.generation.store(generation, std::memory_order_relaxed);
  }
  return *outcome;
}

}  // namespace cohort::host
