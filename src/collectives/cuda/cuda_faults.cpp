// What goes wrong with calls on GPU memory, in words: fault records, streams that do not end.

#include <thread>

#include <cohort/error.hpp>

#include "collectives/cuda/cuda_executor.hpp"
#include "collectives/cuda/device_calls.hpp"

namespace cohort::cuda {

namespace {

std::string text_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

std::string seconds_of(std::uint64_t ns) {
  const std::uint64_t tenths = ns / 100'000'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

}  // namespace

const CudaExecutor::Channel* CudaExecutor::find(std::uint32_t name) const noexcept {
  for (const auto& channel : channels_) {
    if (channel->base.channel == name) return channel.get();
  }
  return nullptr;
}

/// What `member` has noted for a call of this hash.
std::string CudaExecutor::describe(const Channel& channel, std::uint64_t hash,
                                   std::uint32_t member) const {
  const ChannelNotes& notes = *channel.notes[member];
  if (const auto noted = notes.noted(hash).load_of(hash)) return collectives::describe(*noted);
  // Counts on the device are folded into the upper half.
  const std::uint64_t unfolded = notes.noted(hash).load().sequence;
  const auto noted = notes.noted(hash).load_of(unfolded);
  if (noted && noted->counts_hash == collectives::kCountsOnDevice &&
      static_cast<std::uint32_t>(unfolded) == static_cast<std::uint32_t>(hash)) {
    return collectives::describe(*noted);
  }
  return "a call that it has noted no more";
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
  const bool too_large = record.kind == FaultRecord::Kind::count_too_large;
  if (channel == nullptr || (record.member >= size_of(*channel) && !too_large)) {
    return Error(ErrorCode::cuda, "a kernel ended with a fault in a channel that is none",
                 rank_.domain.rank());
  }
  if (too_large) {
    return Error(ErrorCode::usage,
                 text_of(rank_.domain.rank()) + " found " + std::to_string(record.their_hash) +
                     " as count " + std::to_string(record.member) + " on the device, in " +
                     describe(*channel, record.own_hash, channel->self) + " on " +
                     collectives::describe(channel->identity.kind, channel->ranks) +
                     ": more than its operands are planned for",
                 rank_.domain.rank(), "kernel");
  }
  const WorldRank peer = channel->ranks[record.member];
  const std::string mine = describe(*channel, record.own_hash, channel->self);
  const std::string where = " on " + collectives::describe(channel->identity.kind, channel->ranks) +
                            " lane " + std::to_string(channel->identity.lane.index()) + ", call " +
                            std::to_string(record.sequence);
  const std::string self = text_of(rank_.domain.rank());
  const std::string before = lone_refusals(*channel);
  if (record.kind == FaultRecord::Kind::deadline) {
    return Error(ErrorCode::timeout,
                 self + " waited " + seconds_of(record.waited_ns) + " for " + text_of(peer) +
                     " in " + mine + where + before + "; " +
                     last_calls_of(peer, plan_->layout(), regions_, rank_.host_words),
                 peer, "kernel");
  }
  return Error(ErrorCode::mismatch,
               "the members' calls differ" + where + ": " + self + " made " + mine + ", " +
                   text_of(peer) + " made " + describe(*channel, record.their_hash, record.member) +
                   misplaced(*channel, record) + before,
               peer, "kernel");
}

void CudaExecutor::wait(void* stream) {
  constexpr std::string_view kPhase = "wait";
  check(kPhase);
  if (is_captured(stream)) {
    throw Error(ErrorCode::usage, "a stream that is being captured never ends; end the capture",
                std::nullopt, std::string(kPhase));
  }
  // A kernel that waits in vain gives up after the steady limit and knows for whom: it goes first.
  const auto deadline =
      rank_.domain.deadline_after(rank_.domain.limits().steady + rank_.domain.limits().stall);
  for (std::uint32_t round = 0; !rank_.device.is_done(stream); ++round) {
    check(kPhase);
    if (std::chrono::steady_clock::now() > deadline) {
      rank_.domain.fail(Error(ErrorCode::timeout,
                              text_of(rank_.domain.rank()) +
                                  " waited for a stream that has not ended within the steady limit",
                              rank_.domain.rank(), std::string(kPhase)));
    }
    if (round > 100) std::this_thread::yield();
  }
  check(kPhase);
  for (const auto& channel : channels_) throw_refusal(*channel, kPhase);
}

}  // namespace cohort::cuda
