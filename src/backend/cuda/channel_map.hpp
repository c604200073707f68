#pragma once

// Where one (group, lane) keeps its words and scratch in every member's arena, as the library plans
// it and the kernels use it. Plain arithmetic: compiled by the host compiler and by nvcc alike.
//
// Everything but `words` exists once for each of two buffers, used in turn, and within a buffer
// once for each source: what member `from` pushes to member `to` lies in the arena of `to`, at
// source `source_index(from, to)`. A peer pushes into a buffer again in its call after next, which
// begins after this rank's next push, so after this rank has read and cleared what lies there.

#include <cstddef>
#include <cstdint>

namespace cohort::cuda {

inline constexpr std::uint32_t kMembersMax = 64;
inline constexpr std::uint32_t kBuffers = 2;
/// What is stored and polled as one: 16 bytes, aligned.
inline constexpr std::uint32_t kLineBytes = 16;
/// Most thread blocks of one call; each has a header line.
inline constexpr std::uint32_t kBlocksMax = 1024;
/// Lines of a source for calls whose data carry a flag in every 8 bytes: 4 KiB of operand.
inline constexpr std::uint32_t kFlagLines = 512;
/// Lines that share one release flag, for data which hold the sentinel itself: those of a warp.
inline constexpr std::uint32_t kChunkLines = 32;
/// The word that scratch holds where nothing has arrived: a NaN in f32, bf16 and f16.
inline constexpr std::uint32_t kSentinel = 0xFFFAFFFA;

/// First in every rank's arena. `poison` is stored by peers too.
struct SessionWords {
  std::uint32_t poison;   ///< not 0: every kernel ends at once and fills its output with NaN
  std::uint32_t claimed;  ///< not 0: this rank's fault record has a writer
  std::uint64_t unused[31];
};
static_assert(sizeof(SessionWords) == 256);

/// Of one (group, lane) on one rank; written by that rank's own kernels only.
struct ChannelWords {
  /// Calls made, times `kCounterStep`: every block of a call adds its share when it has ended, so
  /// that all blocks of a call read the same sequence, without a ticket or a second kernel.
  std::uint64_t counter;
  std::uint32_t generation;  ///< that planned the channel
  std::uint32_t unused[29];
};
static_assert(sizeof(ChannelWords) == 128);
inline constexpr std::uint64_t kCounterStep = 1024;
static_assert(kCounterStep >= kBlocksMax);

/// Calls and bytes of one row of the ledger, counted by the kernels, so that replays count.
struct Tally {
  std::uint64_t calls;
  std::uint64_t bytes;
};

/// The regions of a channel: offsets in every member's arena, the same on all of them.
struct ChannelMap {
  std::uint64_t words;       ///< ChannelWords
  std::uint64_t headers;     ///< [buffer][source][block], a line each: {hash, sequence} in halves
  std::uint64_t flag_lines;  ///< [buffer][source][kFlagLines]: 8 bytes of data, 4 + 4 of sequence
  std::uint64_t chunks;      ///< [buffer][chunk of the data], 8 bytes each: a 64-bit sequence
  std::uint64_t data;        ///< [buffer][data_bytes]: sentinels where nothing has arrived
  std::uint64_t data_bytes;  ///< of one buffer, a multiple of kChunkLines lines
};

constexpr std::uint32_t source_index(std::uint32_t from, std::uint32_t to) noexcept {
  return from < to ? from : from - 1;
}

constexpr std::uint64_t headers_bytes(std::uint32_t members) noexcept {
  return std::uint64_t{kBuffers} * (members - 1) * kBlocksMax * kLineBytes;
}
constexpr std::uint64_t flag_lines_bytes(std::uint32_t members) noexcept {
  return std::uint64_t{kBuffers} * (members - 1) * kFlagLines * kLineBytes;
}
/// A chunk of the data never spans two sources: each source's part begins at a whole chunk.
constexpr std::uint64_t chunks_bytes(std::uint64_t data_bytes) noexcept {
  return kBuffers * (data_bytes / kLineBytes / kChunkLines) * sizeof(std::uint64_t);
}

}  // namespace cohort::cuda
