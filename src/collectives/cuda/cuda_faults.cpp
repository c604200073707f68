// What goes wrong with calls on GPU memory, in words: refusals, fault records, streams that do not
// end.

#include <algorithm>
#include <cstring>
#include <thread>

#include <cohort/error.hpp>

#include "collectives/cuda/cuda_executor.hpp"

namespace cohort::cuda {

using collectives::Call;

namespace {

std::string text_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

std::string seconds_of(std::uint64_t ns) {
  const std::uint64_t tenths = ns / 100'000'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

void write(RefusalNote& note, std::uint64_t call, const std::string& text) noexcept {
  const std::size_t length = std::min(text.size(), sizeof(note.text) - 1);
  std::memcpy(note.text, text.data(), length);
  note.text[length] = 0;
  note.code.store(static_cast<std::uint32_t>(ErrorCode::usage), std::memory_order_relaxed);
  note.call.store(call, std::memory_order_release);
}

std::string read(const RefusalNote& note) {
  return {note.text, ::strnlen(note.text, sizeof(note.text))};
}

}  // namespace

void CudaExecutor::await_made(const Channel& channel, std::uint32_t member, std::uint64_t call,
                              const Call& what) {
  const std::atomic<std::uint64_t>& made = channel.notes[member]->made;
  rank_.domain.wait_for(
      channel.ranks[member], rank_.domain.limits().steady,
      [&] { return made.load(std::memory_order_seq_cst) >= call; },
      [&] {
        return host::WaitSubject{to_string(what.op),
                                 "refusing " + std::string(to_string(what.op)) + " on " +
                                     collectives::describe(channel.identity.kind, channel.ranks) +
                                     " lane " + std::to_string(channel.identity.lane.index())};
      });
}

/// Kernels know of no refusals, so members first tell each other whether all of them refuse.
void CudaExecutor::refuse(Channel& channel, const Call& call, const std::string& why) {
  const std::string op(to_string(call.op));
  const WorldRank self = rank_.domain.rank();
  if (size_of(channel) == 1) throw Error(ErrorCode::usage, op + ": " + why, self, op);
  const std::string mine = text_of(self) + " refused " + op + " on " +
                           collectives::describe(channel.identity.kind, channel.ranks) + ": " + why;
  ChannelNotes& notes = *channel.notes[channel.self];
  const std::uint64_t number = notes.made.load(std::memory_order_relaxed) + 1;
  write(notes.refusal(number), number, mine);
  notes.made.store(number, std::memory_order_seq_cst);
  rank_.domain.wake();
  std::optional<std::uint32_t> lowest;
  for (std::uint32_t member = 0; member < size_of(channel); ++member) {
    await_made(channel, member, number, call);
    const RefusalNote& theirs = channel.notes[member]->refusal(number);
    if (theirs.call.load(std::memory_order_acquire) != number) {
      rank_.domain.fail(Error(ErrorCode::usage, mine, self, op));
    }
    if (!lowest) lowest = member;
  }
  throw Error(ErrorCode::usage,
              *lowest == channel.self ? mine : read(channel.notes[*lowest]->refusal(number)),
              channel.ranks[*lowest], op);
}

const CudaExecutor::Channel* CudaExecutor::find(std::uint32_t name) const noexcept {
  for (const auto& channel : channels_) {
    if (channel->base.channel == name) return channel.get();
  }
  return nullptr;
}

/// What `member` has noted for a call of this hash.
std::string CudaExecutor::describe(const Channel& channel, std::uint64_t hash,
                                   std::uint32_t member) const {
  const auto noted = channel.notes[member]->noted(hash).load_of(hash);
  return noted ? collectives::describe(*noted) : "a call that it has noted no more";
}

/// The channel of the record is retired; one in its place, or none, has its name now.
Error CudaExecutor::stale_error(const FaultRecord& record) const {
  const WorldRank self = rank_.domain.rank();
  std::string what = "a call";
  if (const Channel* const channel = find(record.channel)) {
    for (const ChannelNotes* const notes : channel->retired_notes) {
      const auto noted = notes->noted(record.own_hash).load_of(record.own_hash);
      if (noted) what = collectives::describe(*noted);
    }
  }
  const auto kind = static_cast<GroupKind>(record.channel >> 16U);
  return Error(ErrorCode::usage,
               text_of(self) + " replayed a graph with " + what + " on " +
                   collectives::describe(kind, plan_->layout().group_of(kind, self)) + " lane " +
                   std::to_string(record.channel & 0xFFFFU) +
                   ", which was captured before a recommit replaced that group's memory; capture "
                   "it again",
               self, "kernel");
}

Error CudaExecutor::error_of(const FaultRecord& record) const {
  if (record.kind == FaultRecord::Kind::stale_generation &&
      record.channel >> 16U < kGroupKindCount) {
    return stale_error(record);
  }
  const Channel* const channel = find(record.channel);
  if (channel == nullptr || record.member >= size_of(*channel)) {
    return Error(ErrorCode::cuda, "a kernel ended with a fault in a channel that is none",
                 rank_.domain.rank());
  }
  const WorldRank peer = channel->ranks[record.member];
  const std::string mine = describe(*channel, record.own_hash, channel->self);
  const std::string where = " on " + collectives::describe(channel->identity.kind, channel->ranks) +
                            " lane " + std::to_string(channel->identity.lane.index()) + ", call " +
                            std::to_string(record.sequence);
  const std::string self = text_of(rank_.domain.rank());
  if (record.kind == FaultRecord::Kind::deadline) {
    return Error(ErrorCode::timeout,
                 self + " waited " + seconds_of(record.waited_ns) + " for " + text_of(peer) +
                     " in " + mine + where,
                 peer, "kernel");
  }
  return Error(ErrorCode::mismatch,
               "the members' calls differ" + where + ": " + self + " made " + mine + ", " +
                   text_of(peer) + " made " + describe(*channel, record.their_hash, record.member) +
                   misplaced(*channel, record),
               peer, "kernel");
}

void CudaExecutor::wait(void* stream) {
  constexpr std::string_view kPhase = "wait";
  rank_.watch.check(kPhase);
  if (is_captured(stream)) {
    throw Error(ErrorCode::usage, "a stream that is being captured never ends; end the capture",
                std::nullopt, std::string(kPhase));
  }
  // A kernel that waits in vain gives up after the steady limit and knows for whom: it goes first.
  const auto deadline =
      rank_.domain.deadline_after(rank_.domain.limits().steady + rank_.domain.limits().stall);
  for (std::uint32_t round = 0; !rank_.device.is_done(stream); ++round) {
    rank_.watch.check(kPhase);
    if (std::chrono::steady_clock::now() > deadline) {
      rank_.domain.fail(Error(ErrorCode::timeout,
                              text_of(rank_.domain.rank()) +
                                  " waited for a stream that has not ended within the steady limit",
                              rank_.domain.rank(), std::string(kPhase)));
    }
    if (round > 100) std::this_thread::yield();
  }
  rank_.watch.check(kPhase);
}

}  // namespace cohort::cuda
