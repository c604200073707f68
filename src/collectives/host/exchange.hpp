#pragma once

// One call in flight on one rank: publishes this rank's header, reads and compares the others'.
//
// Every path uses it in the same order: construct, publish, arrive() for every member, finish.

#include <cstring>
#include <optional>

#include "collectives/host/channel.hpp"

namespace cohort::host {

class Exchange {
 public:
  Exchange(Channel& channel, const collectives::Call& call, Path path);

  Channel& channel() const noexcept { return *channel_; }
  const collectives::Call& call() const noexcept { return *call_; }
  std::uint32_t size() const noexcept { return channel_->size(); }
  std::uint32_t self() const noexcept { return channel_->self(); }
  std::uint64_t sequence() const noexcept { return sequence_; }
  std::size_t element_bytes() const noexcept { return bytes_of(call_->dtype); }

  /// Publishes a header whose operand, `bytes` at `data`, rides with it.
  void publish_inline(collectives::Place place, const void* data, std::size_t bytes);
  /// Publishes a header that says where peers find the operand, which must be readable by now.
  void publish_pull(collectives::Place place, const PullOffsets& offsets);
  /// Publishes that this rank cannot take part, and why; every member gets that error.
  void publish_refusal(ErrorCode code, const std::string& why);

  /// Waits for a member's header and compares it with this rank's. False if it is a refusal.
  /// Throws: Error{mismatch} with both sides, Error{timeout, peer_failed}.
  bool arrive(std::uint32_t member);
  /// `arrive` for every member; false if any refused. After it no member is more than one call
  /// away.
  bool arrive_all();

  /// A member's inline operand; valid after `arrive`.
  const std::byte* inline_operand(std::uint32_t member) const noexcept {
    return channel_->place_of(member, sequence_).payload;
  }
  /// `bytes` at a member's operand plus `begin`; valid after `arrive`.
  const std::byte* operand(std::uint32_t member, std::size_t begin, std::size_t bytes);
  /// `bytes` at a member's result plus `begin`; valid after `await_result`.
  const std::byte* result(std::uint32_t member, std::size_t begin, std::size_t bytes);

  /// Whether any member's operand is also its output; valid after `arrive_all`.
  bool in_place() const noexcept { return in_place_; }
  /// Says that peers read results: a staged one then counts as a staged operand.
  void use_results() noexcept;
  /// Tells peers that this rank's part of the result is readable.
  void publish_result();
  void await_result(std::uint32_t member);
  /// Tells peers that `piece` pieces of this rank's result are readable; counted from 1.
  void publish_piece(std::uint64_t piece);
  void await_piece(std::uint32_t member, std::uint64_t piece);
  static constexpr std::uint64_t kPieceCountMax = (std::uint64_t{1} << SyncWords::kPieceBits) - 1;
  /// Tells peers that this rank reads none of their memory any more.
  void publish_done();

  /// The lowest member that refused, if one did; throws its error on every member.
  void rethrow_refusal() const;
  /// The lowest member whose operand was staged although the path reads operands in place.
  std::optional<std::uint32_t> first_staged() const noexcept { return first_staged_; }

  std::uint64_t wait_ticks() const noexcept { return wait_ticks_; }
  /// When the last wait ended; 0 if nothing was waited for.
  std::uint64_t last_ticks() const noexcept { return last_ticks_; }
  /// "all_reduce(sum, f32, 4096 bytes, host_direct) on attn_cp [0, 2] lane 0, call 17".
  std::string describe() const;

 private:
  collectives::CallRecord record(collectives::Place place) const noexcept;
  void note_call(collectives::Place place);
  bool read_header(std::uint32_t member);
  /// Whether anybody reads results is known of an all_reduce only once all headers have arrived.
  std::optional<std::uint32_t>& staged_result() noexcept {
    return call_->op == Op::all_reduce ? first_staged_result_ : first_staged_;
  }
  void end_wait() noexcept;
  void publish(collectives::Place place);
  template <typename Ready>
  void await(std::uint32_t member, const Ready& ready);
  void compare(std::uint32_t member, const HeaderPlace& theirs);
  [[noreturn]] void fail_mismatch(std::uint32_t member, const std::string& difference);
  const std::byte* checked(std::uint32_t member, std::uint64_t base, std::size_t begin,
                           std::size_t bytes);
  PullOffsets offsets_of(std::uint32_t member) const noexcept;

  Channel* channel_;
  const collectives::Call* call_;
  Path path_;
  std::uint64_t sequence_;
  std::uint64_t hash_;
  std::uint64_t wait_ticks_ = 0;
  std::uint64_t last_ticks_ = 0;
  std::uint64_t wait_began_ = 0;  // 0 while no wait is to be booked
  collectives::Place place_;
  collectives::Place result_place_;
  std::optional<std::uint32_t> first_refused_;
  std::optional<std::uint32_t> first_staged_;
  std::optional<std::uint32_t> first_staged_result_;
  bool in_place_ = false;
};

}  // namespace cohort::host
