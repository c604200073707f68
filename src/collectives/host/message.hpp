#pragma once

// One message in flight, as its sender or its receiver sees it.
//
// The sender: construct, await_place, publish. The receiver: construct, arrive, read the operand,
// give_credit. A refusal on either side still uses up the message's sequence on both.

#include <cstdint>
#include <string>

#include "collectives/host/pair_channel.hpp"

namespace cohort::host {

class Message {
 public:
  Message(PairChannel& pairs, const collectives::Call& call, Path path);

  WorldRank sender() const noexcept { return world_rank(from_); }
  WorldRank receiver() const noexcept { return world_rank(to_); }
  std::uint64_t sequence() const noexcept { return sequence_; }
  std::uint64_t wait_ticks() const noexcept { return wait_ticks_; }
  /// "send(0 to 2, f32, 4096 bytes, host_direct) on tp [0, 2, 4] lane 0, message 7".
  std::string describe() const;

  // --- the sender's side --------------------------------------------------------------------

  /// Waits until this message's header place is free: the last message but one has been read.
  void await_place();
  /// Offset of a free staging entry.
  std::size_t claim_staging();
  /// Publishes the header; the operand rides with it.
  void publish_inline(collectives::Place place, const void* data, std::size_t bytes);
  /// Publishes the header; the operand lies at `offset` in this rank's arena and is readable.
  void publish_pull(collectives::Place place, std::uint64_t offset);
  void publish_refusal(ErrorCode code, const std::string& why);

  // --- the receiver's side ------------------------------------------------------------------

  /// Waits for the header; compares it unless the sender refused. False if it did.
  /// Throws: Error{mismatch} with both sides, Error{timeout, peer_failed}.
  bool arrive(bool compare);
  /// Whether the sender had to copy its operand into staging.
  bool is_staged() const noexcept;
  const std::byte* inline_operand() const noexcept { return place().payload; }
  /// `bytes` at the sender's operand; valid after `arrive`.
  const std::byte* operand(std::size_t bytes) const;
  /// Leaves word for the sender that this rank cannot take the message, and why; then give_credit.
  void leave_refusal(ErrorCode code, const std::string& why);
  /// Tells the sender that this rank has finished with the message.
  void give_credit();
  /// The error of the sender that refused; only before give_credit.
  Error sender_refusal() const;

 private:
  Channel& channel() const noexcept { return pairs_->channel(); }
  HeaderPlace& place() const noexcept { return pairs_->place(from_, to_, sequence_); }
  collectives::CallNote& sent_note() const noexcept {
    return pairs_->words(from_, to_).sent_notes[sequence_ % heap::kPlaceCount];
  }
  WorldRank world_rank(std::uint32_t member) const noexcept { return channel().ranks()[member]; }
  collectives::CallRecord record(collectives::Place place) const noexcept;
  void publish(collectives::Place place);
  [[noreturn]] void fail_mismatch(const std::string& difference) const;

  PairChannel* pairs_;
  const collectives::Call* call_;
  Path path_;
  std::uint32_t from_;
  std::uint32_t to_;
  std::uint64_t sequence_;
  std::uint64_t hash_;
  std::uint64_t wait_ticks_ = 0;
};

}  // namespace cohort::host
