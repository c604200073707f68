#pragma once

// The shared words of send and recv of one (group, lane) on the host, as this rank sees them.
//
// Messages from member i to member j have a sequence of their own. In i's arena lie two header
// places for j with the notes beside them; in j's arena lies the credit that j gives i: the last
// message that j has read and compared. Why two places are enough: message n is published only
// once the credit covers n - 2, so the place that it takes is not read any more. The same holds for
// what a refusing receiver leaves behind for the sender.
//
// Thread safety: one thread per rank.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "collectives/host/channel.hpp"

namespace cohort::host {

/// At SendRecvRegion::sync_offset of each arena, behind SendStaging, one for each peer. The owner
/// writes, the peer reads.
struct PairWords {
  /// The last message that the owner has sent to the peer; only the owner reads it.
  alignas(64) std::uint64_t sent;
  /// The last of them of which the owner knows whether the peer refused it; likewise.
  std::uint64_t checked;
  /// The last message from the peer that the owner has finished with.
  alignas(64) std::atomic<std::uint64_t> credit;
  /// The message in each header place in plain words.
  alignas(256) collectives::CallNote sent_notes[heap::kPlaceCount];
  /// The last message of each parity that the owner refused to receive.
  collectives::CallNote refusals[heap::kPlaceCount];
};
static_assert(sizeof(PairWords) == heap::kPairSyncBytes);

/// In front of them: which message has each entry of the staging ring.
struct SendStaging {
  struct Use {
    std::uint64_t sequence;
    std::uint32_t peer;
    std::uint32_t used;  ///< 0 until there was a first message
  };
  Use uses[heap::kPlaceCount];
  std::uint64_t next;
};
static_assert(sizeof(SendStaging) <= heap::kSendStagingBytes);

/// What a receiver had against a message, and which one it was.
struct RefusedMessage {
  std::uint64_t sequence = 0;
  ErrorCode code = ErrorCode::usage;
  std::string text;
};

class PairChannel {
 public:
  /// Peer `i` is reader `first_reader + i` of an entry.
  PairChannel(Channel& channel, std::size_t first_reader);

  /// Writes the owner's words before peers map them: all messages up to `sequence` count as read.
  static void initialise(std::byte* arena, const heap::SendRecvRegion& region,
                         std::uint64_t sequence);

  Channel& channel() const noexcept { return *channel_; }
  std::size_t first_reader() const noexcept { return first_reader_; }
  std::size_t reader_of(std::uint32_t peer) const noexcept { return first_reader_ + peer; }
  const heap::SendRecvRegion& region() const noexcept { return channel_->region().messages; }

  PairWords& words(std::uint32_t owner, std::uint32_t peer) const noexcept;
  HeaderPlace& place(std::uint32_t from, std::uint32_t to, std::uint64_t sequence) const noexcept;

  /// Waits until `peer` has finished with message `sequence` from this rank; returns the ticks.
  std::uint64_t await_credit(std::uint32_t peer, std::uint64_t sequence, std::string_view phase);
  /// The first refusal by `peer` that this rank has not seen yet; each is returned once.
  std::optional<RefusedMessage> next_refusal(std::uint32_t peer);

  /// Throws: Error{usage} if a peer has not received a message from this rank, or the error of one
  /// that it refused. Between calls.
  void check_idle();
  /// What became of messages from this rank that their sender does not know of: "rank 1 has not
  /// received messages 3 to 4 from rank 0 on tp [0, 1] lane 0". Requires: nobody calls any more.
  std::vector<std::string> lost();

  /// Offset in the arena of the staging entry for message `sequence` to `peer`, once the message
  /// that had it last has been read.
  std::size_t claim_staging(std::uint32_t peer, std::uint64_t sequence, std::uint64_t& wait_ticks);

 private:
  /// Nothing if `peer` has received all.
  std::optional<std::string> not_received(std::uint32_t peer) const;

  Channel* channel_;
  std::size_t first_reader_;
};

/// "rank 2 refused message 7 from rank 0: ..."
std::string describe(const RefusedMessage& refused, WorldRank from, WorldRank to);

}  // namespace cohort::host
