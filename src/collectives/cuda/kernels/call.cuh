#pragma once

// What every kernel does around its data: which call it is, headers, waits with a deadline, faults,
// and the end. Invariants:
//  1. All blocks of a call read the same counter: it moves on by a whole call only when each block
//     has added its share, which it does after its last access to scratch.
//  2. A block waits only for its twin on a peer, after its own push.
//  3. A header of this call with another hash, a poisoned session and a stale generation end a call
//     before it uses what it received.

#include <cstdint>

#include "collectives/cuda/kernels/args.cuh"
#include "collectives/cuda/kernels/words.cuh"

namespace cohort::cuda {

/// Polls between two looks at the clock and at the poison, and at chunk flags.
inline constexpr std::uint32_t kPollsBetweenChecks = 1024;
inline constexpr std::uint32_t kPollsBetweenChunkFlags = 16;

/// What a thread found wrong.
struct Fault {
  FaultRecord::Kind kind = FaultRecord::Kind::none;
  std::uint32_t member = 0;
  std::uint64_t their_hash = 0;
  std::uint64_t waited_ns = 0;

  __device__ bool is_set() const { return kind != FaultRecord::Kind::none; }
};

/// The words that a kernel starts from, as loaded.
struct Entry {
  Line channel;
  std::uint32_t poison;
};

/// Issue this before the loads of operands, and `begin_turn` after them: they fly together.
__device__ __forceinline__ Entry load_entry(const CallArgs& call) {
  return {load_line(call.channel), load_word(call.session)};
}

/// Which call of its channel this is, and where its buffer lies.
struct Turn {
  std::uint64_t sequence;
  std::uint32_t flag;  ///< its lower half
  char* headers;
  char* flag_lines;
  char* chunks;
  char* data;
};

__device__ __forceinline__ Turn begin_turn(const CallArgs& call, const Entry& entry, Fault& fault) {
  const std::uint64_t counter = std::uint64_t{entry.channel.word[1]} << 32 | entry.channel.word[0];
  Turn turn;
  turn.sequence = counter / kCounterStep + 1;
  turn.flag = static_cast<std::uint32_t>(turn.sequence);
  const bool second = (turn.flag & 1U) != 0;
  turn.headers = call.headers + (second ? call.headers_stride : 0);
  turn.flag_lines = call.flag_lines + (second ? call.flag_lines_stride : 0);
  turn.chunks = call.chunks + (second ? call.chunks_stride : 0);
  turn.data = call.data + (second ? call.data_stride : 0);
  if (entry.poison != 0) fault.kind = FaultRecord::Kind::poisoned;
  if (entry.channel.word[2] != call.generation) fault.kind = FaultRecord::Kind::stale_generation;
  return turn;
}

// --- places in own scratch; a peer's are at its distance ---

__device__ __forceinline__ char* header_place(const Turn& turn, std::uint32_t source,
                                              std::uint32_t block) {
  return turn.headers + (source * kBlocksMax + block) * kLineBytes;
}
__device__ __forceinline__ char* flag_line_place(const Turn& turn, std::uint32_t source,
                                                 std::uint32_t line) {
  return turn.flag_lines + (source * kFlagLines + line) * kLineBytes;
}
__device__ __forceinline__ char* data_place(const Turn& turn, std::uint32_t line) {
  return turn.data + std::uint64_t{line} * kLineBytes;
}
__device__ __forceinline__ char* chunk_place(const Turn& turn, std::uint32_t line) {
  return turn.chunks + line / kChunkLines * sizeof(std::uint64_t);
}

// --- headers ---

__device__ __forceinline__ Line header_line(const CallArgs& call, const Turn& turn) {
  return {static_cast<std::uint32_t>(call.hash), turn.flag,
          static_cast<std::uint32_t>(call.hash >> 32), turn.flag};
}

__device__ __forceinline__ void push_header(const CallArgs& call, const Turn& turn,
                                            const Peer& peer) {
  delay_at(Site::header);
  store_line(header_place(turn, peer.source, blockIdx.x) + peer.distance, header_line(call, turn));
}

__device__ __forceinline__ bool is_of_this_call(const Line& header, const Turn& turn) {
  return header.word[1] == turn.flag && header.word[3] == turn.flag;
}

/// Sets a fault if the header, which is of this call, tells of another one.
__device__ __forceinline__ void compare_header(const CallArgs& call, const Line& header,
                                               std::uint32_t member, Fault& fault) {
  const std::uint64_t hash = std::uint64_t{header.word[2]} << 32 | header.word[0];
  if (hash == call.hash) return;
  fault.kind = FaultRecord::Kind::mismatch;
  fault.member = member;
  fault.their_hash = hash;
}

// --- waits ---

/// Of one thread over a whole call. `began` is the clock at the first check.
struct Watch {
  std::uint32_t polls = 0;
  std::uint64_t began = 0;
};

/// After a poll in vain: whether waiting has to end, with the fault set but for the member.
__device__ __forceinline__ bool gives_up(const CallArgs& call, Watch& watch, Fault& fault) {
  if (++watch.polls % kPollsBetweenChecks != 0) [[likely]]
    return false;
  const std::uint64_t now = nanoseconds();
  if (watch.began == 0) watch.began = now;
  if (load_word(call.session) != 0) {
    fault.kind = FaultRecord::Kind::poisoned;
  } else if (now - watch.began > call.deadline_ns) {
    fault.kind = FaultRecord::Kind::deadline;
  }
  fault.waited_ns = now - watch.began;
  return fault.is_set();
}

// --- faults ---

/// Whoever is the first on this rank writes the record; everybody poisons the session, everywhere.
/// The record comes first: who leaves because of the poison must not describe the fault. Kept apart
/// from the kernel, with arguments in registers: what seldom happens must not stand in its way.
static __device__ __noinline__ void report_fault(const CallArgs* call, const Peer* peers,
                                                 std::uint64_t sequence, std::uint32_t kind,
                                                 std::uint32_t member, std::uint64_t their_hash,
                                                 std::uint64_t waited_ns) {
  auto* own = reinterpret_cast<SessionWords*>(call->session);
  if (atomicCAS(&own->claimed, 0U, 1U) == 0U) {
    FaultRecord* record = call->fault;
    record->kind = static_cast<FaultRecord::Kind>(kind);
    record->member = member;
    record->channel = call->channel_name;
    record->sequence = sequence;
    record->own_hash = call->hash;
    record->their_hash = their_hash;
    record->waited_ns = waited_ns;
    fence_system();
    store_word_release(&record->complete, 1);
  }
  store_word(&own->poison, 1);
#pragma unroll 1
  for (std::uint32_t k = 0; k < call->peers; ++k) {
    store_word(call->session + peers[k].distance, 1);
  }
}

__device__ __forceinline__ void report(const CallArgs& call, const Peer* peers, const Turn& turn,
                                       const Fault& fault) {
  report_fault(&call, peers, turn.sequence, static_cast<std::uint32_t>(fault.kind), fault.member,
               fault.their_hash, fault.waited_ns);
}

static __device__ __noinline__ void invalidate_words(const Piece* piece, std::uint32_t index,
                                                     std::uint32_t words, std::uint32_t word) {
  char* to = piece->address + std::uint64_t{index} * (4 * words);
  const std::uint32_t bytes = index + 1 == piece->lines ? piece->last_bytes : 4 * words;
#pragma unroll 1
  for (std::uint32_t k = 0; k < bytes; ++k) to[k] = static_cast<char>(word >> (8 * (k & 3U)));
}

/// Fills a line of an output, if it has that line, with what cannot be taken for a result.
__device__ __forceinline__ void invalidate_line(const Piece& piece, std::uint32_t index,
                                                std::uint32_t words, std::uint32_t word) {
  if (index < piece.lines) invalidate_words(&piece, index, words, word);
}

// --- the end ---

/// Headers and lines with flags are not cleared after use, and their flags are 32 bits: one that
/// was written 2^32 calls ago would be taken for new. So each call resets one line of each source
/// that it does not use to a flag half a turn away, another one in each call. That cannot race: a
/// peer stores into this buffer in this call, and then only into lines that this call uses, or two
/// calls later, when this kernel has ended; and what it stored two calls ago has been awaited. Of
/// thread k < peers, for source k, in one block.
__device__ inline void sweep_stale_flags(const Turn& turn, std::uint32_t source,
                                         std::uint32_t flag_lines_used) {
  const std::uint32_t far = turn.flag ^ 0x80000000U;
  const std::uint32_t header = turn.flag / kBuffers % kBlocksMax;
  if (header >= gridDim.x) store_own_line(header_place(turn, source, header), {0, far, 0, far});
  const std::uint32_t line = turn.flag / kBuffers % kFlagLines;
  if (line >= flag_lines_used) {
    store_own_line(flag_line_place(turn, source, line), {0, far, 0, far});
  }
}

/// By one thread of each block, when no thread of it touches scratch any more.
__device__ __forceinline__ void add_share(const CallArgs& call) {
  delay_at(Site::leave);
  add_long(call.channel, blockIdx.x == 0 ? kCounterStep - (gridDim.x - 1) : 1);
}

/// By one thread of the call.
__device__ __forceinline__ void count(const CallArgs& call) {
  if (call.tally == nullptr) return;
  add_long(&call.tally->calls, 1);
  add_long(&call.tally->bytes, call.tally_bytes);
}

/// Both at once, for kernels that count at their end.
__device__ __forceinline__ void end_turn(const CallArgs& call) {
  add_share(call);
  if (blockIdx.x == 0) count(call);
}

}  // namespace cohort::cuda
