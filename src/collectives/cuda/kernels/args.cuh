#pragma once

// A call as a kernel reads it, made from a KernelCall: addresses instead of offsets, and peers in
// the order of their sources in own scratch, which is group-rank order without oneself.

#include <cstdint>

#include "backend/cuda/abi.hpp"
#include "collectives/cuda/kernels/extents.hpp"
#include "collectives/cuda/kernels/words.cuh"

namespace cohort::cuda {

/// A part of an operand, in lines of 16 bytes, or of 8 where lines carry flags, counted from its
/// own beginning.
struct Piece {
  char* address;
  std::uint32_t lines;
  std::uint32_t whole;       ///< the first ones, which are loaded and stored as one: all that are
                             ///< full, if the piece is aligned
  std::uint32_t last_bytes;  ///< of the last line
  std::uint32_t unit;        ///< bytes that go at once in all other lines
};

struct Peer {
  std::int64_t distance;    ///< from an address in own arena to the same place in the peer's
  std::uint32_t member;     ///< group rank
  std::uint32_t source;     ///< of this rank, in the peer's scratch
  std::uint32_t to_line;    ///< where this rank's data begin in the peer's scratch
  std::uint32_t from_line;  ///< where the peer's data begin in own scratch
  Piece in;                 ///< what the peer gets, unless all get the same
  Piece out;                ///< where the peer's data go, unless they are reduced
};

/// What does not depend on the peer. Addresses are of buffer 0; strides lead to buffer 1.
struct CallArgs {
  char* session;  ///< own SessionWords
  char* channel;  ///< own ChannelWords
  char* headers;
  char* flag_lines;
  char* chunks;
  char* data;
  std::uint64_t headers_stride;
  std::uint64_t flag_lines_stride;
  std::uint64_t chunks_stride;
  std::uint64_t data_stride;
  std::uint64_t hash;
  std::uint32_t generation;
  std::uint32_t self;
  std::uint32_t peers;
  DType dtype;
  ReduceOp reduce_op;
  std::uint32_t second_line;  ///< of two_shot: where results that are passed on begin
  Piece in;                   ///< own part of the input, or all of it where all peers get the same
  Piece out;                  ///< of own output: the result, or where the own part goes
  std::uint64_t deadline_ns;
  FaultRecord* fault;
  Tally* tally;
  std::uint64_t tally_bytes;
  std::uint32_t channel_name;
};

/// For groups of up to MEMBERS ranks.
template <int MEMBERS>
struct Args {
  CallArgs call;
  Peer peer[MEMBERS - 1];
};

/// Every operand's bytes must be fewer than 2^32 lines.
inline Piece make_piece(Address operand, Extent extent, std::uint32_t line_bytes) {
  const Address address = operand + extent.begin;
  const std::uint64_t lines = lines_of(extent.bytes, line_bytes);
  const std::uint64_t of_last = lines == 0 ? 0 : extent.bytes - (lines - 1) * line_bytes;
  const bool aligned = address % line_bytes == 0;
  const std::uint64_t places = address | extent.bytes | 8;
  return {reinterpret_cast<char*>(address), static_cast<std::uint32_t>(lines),
          static_cast<std::uint32_t>(aligned ? extent.bytes / line_bytes : 0),
          static_cast<std::uint32_t>(of_last), static_cast<std::uint32_t>(places & -places)};
}

inline CallArgs make_call_args(const KernelCall& call, std::uint32_t line_bytes) {
  const Members& members = call.members;
  const std::uint32_t self = members.self;
  const Address arena = members.arenas + members.stride * members.ranks[self];
  const auto at = [arena](std::uint64_t offset) { return reinterpret_cast<char*>(arena + offset); };
  CallArgs args{};
  args.session = at(0);
  args.channel = at(call.map.words);
  args.headers = at(call.map.headers);
  args.flag_lines = at(call.map.flag_lines);
  args.chunks = at(call.map.chunks);
  args.data = at(call.map.data);
  args.headers_stride = headers_bytes(members.count) / kBuffers;
  args.flag_lines_stride = flag_lines_bytes(members.count) / kBuffers;
  args.chunks_stride = chunks_bytes(call.map.data_bytes) / kBuffers;
  args.data_stride = call.map.data_bytes;
  args.hash = call.hash;
  args.generation = call.generation;
  args.self = self;
  args.peers = members.count - 1;
  args.dtype = call.dtype;
  args.reduce_op = call.reduce_op;
  args.second_line = call.algorithm == Algorithm::two_shot
                         ? static_cast<std::uint32_t>(second_region_line(call))
                         : 0;
  const Extent own{input_begin(call, self, self), sent_bytes(call, self, self)};
  args.in = make_piece(call.input, own, line_bytes);
  args.out = make_piece(call.output, {output_begin(call, self, self), own.bytes}, line_bytes);
  args.deadline_ns = call.deadline_ns;
  args.fault = reinterpret_cast<FaultRecord*>(call.fault);
  args.tally = reinterpret_cast<Tally*>(call.tally);
  args.tally_bytes = call.tally_bytes;
  args.channel_name = call.channel;
  return args;
}

inline Peer make_peer(const KernelCall& call, std::uint32_t member, std::uint32_t line_bytes) {
  const Members& members = call.members;
  const std::uint32_t self = members.self;
  Peer peer{};
  peer.distance = static_cast<std::int64_t>(members.stride) *
                  (std::int64_t{members.ranks[member]} - members.ranks[self]);
  peer.member = member;
  peer.source = source_index(self, member);
  peer.to_line = static_cast<std::uint32_t>(scratch_line(call, self, member));
  peer.from_line = static_cast<std::uint32_t>(scratch_line(call, member, self));
  peer.in = make_piece(
      call.input, {input_begin(call, self, member), sent_bytes(call, self, member)}, line_bytes);
  Extent out{output_begin(call, member, self), sent_bytes(call, member, self)};
  // What the peer has reduced and passes on.
  if (call.algorithm == Algorithm::two_shot) out = two_shot_part(call, member);
  peer.out = make_piece(call.output, out, line_bytes);
  return peer;
}

template <int MEMBERS>
Args<MEMBERS> make_args(const KernelCall& call, std::uint32_t line_bytes) {
  Args<MEMBERS> args{};
  args.call = make_call_args(call, line_bytes);
  for (std::uint32_t k = 0; k + 1 < call.members.count; ++k) {
    const std::uint32_t member = k < call.members.self ? k : k + 1;
    args.peer[k] = make_peer(call, member, line_bytes);
  }
  return args;
}

// --- operands ---

/// A line that is not full, or of a piece that is not aligned: by the largest unit that fits. What
/// lies beyond the end is zero.
template <int W>
__device__ inline Words<W> load_ragged(const Piece& piece, std::uint32_t index) {
  const char* from = piece.address + std::uint64_t{index} * (4 * W);
  const std::uint32_t bytes = index + 1 == piece.lines ? piece.last_bytes : 4 * W;
  std::uint64_t low = 0;
  std::uint64_t high = 0;
#pragma unroll 1
  for (std::uint32_t k = 0; k < bytes; k += piece.unit) {
    std::uint64_t value;
    switch (piece.unit) {
      case 8: value = *reinterpret_cast<const std::uint64_t*>(from + k); break;
      case 4: value = *reinterpret_cast<const std::uint32_t*>(from + k); break;
      case 2: value = *reinterpret_cast<const std::uint16_t*>(from + k); break;
      default: value = *reinterpret_cast<const std::uint8_t*>(from + k); break;
    }
    value <<= 8 * (k & 7U);
    if (k < 8) {
      low |= value;
    } else {
      high |= value;
    }
  }
  Words<W> words;
  words.word[0] = static_cast<std::uint32_t>(low);
  words.word[1] = static_cast<std::uint32_t>(low >> 32);
  if constexpr (W == 4) {
    words.word[2] = static_cast<std::uint32_t>(high);
    words.word[3] = static_cast<std::uint32_t>(high >> 32);
  }
  return words;
}

template <int W>
__device__ inline void store_ragged(const Piece& piece, std::uint32_t index,
                                    const Words<W>& words) {
  char* to = piece.address + std::uint64_t{index} * (4 * W);
  const std::uint32_t bytes = index + 1 == piece.lines ? piece.last_bytes : 4 * W;
  const std::uint64_t low = std::uint64_t{words.word[1]} << 32 | words.word[0];
  const std::uint64_t high =
      W == 2 ? 0 : std::uint64_t{words.word[W - 1]} << 32 | words.word[W - 2];
#pragma unroll 1
  for (std::uint32_t k = 0; k < bytes; k += piece.unit) {
    const std::uint64_t value = (k < 8 ? low : high) >> (8 * (k & 7U));
    switch (piece.unit) {
      case 8: *reinterpret_cast<std::uint64_t*>(to + k) = value; break;
      case 4: *reinterpret_cast<std::uint32_t*>(to + k) = static_cast<std::uint32_t>(value); break;
      case 2: *reinterpret_cast<std::uint16_t*>(to + k) = static_cast<std::uint16_t>(value); break;
      default: *reinterpret_cast<std::uint8_t*>(to + k) = static_cast<std::uint8_t>(value); break;
    }
  }
}

/// Of an aligned piece, a line that is full.
template <int W>
__device__ __forceinline__ Words<W> load_full_words(const Piece& piece, std::uint32_t index) {
  const char* from = piece.address + std::uint64_t{index} * (4 * W);
  if constexpr (W == 2) {
    const uint2 value = *reinterpret_cast<const uint2*>(from);
    return {value.x, value.y};
  } else {
    const uint4 value = *reinterpret_cast<const uint4*>(from);
    return {value.x, value.y, value.z, value.w};
  }
}

template <int W>
__device__ __forceinline__ void store_full_words(const Piece& piece, std::uint32_t index,
                                                 const Words<W>& words) {
  char* to = piece.address + std::uint64_t{index} * (4 * W);
  if constexpr (W == 2) {
    *reinterpret_cast<uint2*>(to) = make_uint2(words.word[0], words.word[1]);
  } else {
    *reinterpret_cast<uint4*>(to) =
        make_uint4(words.word[0], words.word[1], words.word[2], words.word[3]);
  }
}

/// Line `index` of an operand, which must have it.
template <int W>
__device__ __forceinline__ Words<W> load_words(const Piece& piece, std::uint32_t index) {
  if (index >= piece.whole) [[unlikely]]
    return load_ragged<W>(piece, index);
  return load_full_words<W>(piece, index);
}

template <int W>
__device__ __forceinline__ void store_words(const Piece& piece, std::uint32_t index,
                                            const Words<W>& words) {
  if (index >= piece.whole) [[unlikely]]
    return store_ragged<W>(piece, index, words);
  store_full_words<W>(piece, index, words);
}

}  // namespace cohort::cuda
