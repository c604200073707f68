#pragma once

// Layout of a domain's control segment: one `ControlSegment`, then one `RankBlock` per rank.
//
// It lives in a memory object that the lowest rank creates and all ranks map. Whoever writes a
// field is named beside it; every rank reads all of it. Words that different ranks write never
// share a cache line. A rank may die at any instruction, so nothing here is a lock: a field is
// either one atomic word, or text that a word written afterwards declares complete.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "backend/host/commit_word.hpp"
#include "backend/host/fault_record.hpp"
#include "backend/host/health_words.hpp"

namespace cohort::host {

inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::uint64_t kControlMagic = 0x31'6c72'7463'6863;  // "chctrl1"
/// Raised with every change of this file's layout or of the protocol over it.
inline constexpr std::uint32_t kControlAbi = 4;

enum class RankState : std::uint32_t { absent, joined, left, dead };

/// One rank's message of one round of a set-up exchange. Written by its rank before `published`.
struct MailChunk {
  static constexpr std::size_t kCapacityBytes = 8192 - 48;
  std::uint64_t total_bytes = 0;  ///< of the whole message
  std::uint32_t chunk_bytes = 0;  ///< of this round's piece
  std::uint32_t phase_bytes = 0;
  std::array<char, 32> phase{};  ///< the exchange's name; differing names are a mismatch
  std::array<std::byte, kCapacityBytes> bytes{};
};
static_assert(sizeof(MailChunk) == 8192);

struct RankBlock {
  /// RankState. Written by its rank (joined, left); `dead` by any rank's monitor.
  alignas(kCacheLine) std::atomic<std::uint32_t> state{0};
  /// Written by its rank before `joined`.
  std::atomic<std::int32_t> pid{0};

  /// Rung by its rank (and by whoever poisons) after publishing; peers sleep on it.
  alignas(kCacheLine) std::atomic<std::uint32_t> bell{0};
  /// How many ranks sleep, or are about to, on `bell`. Written by those.
  alignas(kCacheLine) std::atomic<std::uint32_t> sleepers{0};

  // What its rank waits for, for other ranks' messages and for health. Written by its rank, only
  // in the slow part of a wait. `subject` is a seqlock: odd `subject_version` means being written.
  alignas(kCacheLine) std::atomic<std::uint32_t> waiting_for{0};  ///< world rank + 1; 0 is nobody
  std::atomic<std::uint32_t> subject_version{0};
  std::atomic<std::uint64_t> waiting_since_ns{0};  ///< steady clock
  std::array<std::atomic<std::uint64_t>, 30> subject{};

  HealthWords health;

  /// The newest generation for which its rank has finished its part. Written by its rank.
  alignas(kCacheLine) std::atomic<std::uint32_t> ready_generation{0};
  /// Bytes that its rank is about to take from the system. Written by its rank.
  alignas(kCacheLine) std::atomic<std::uint64_t> pending_bytes{0};

  // Mailbox of the set-up exchanges: round r uses chunks[r % 2]. Two suffice: a rank publishes
  // round r + 2 only after it has read everybody's r + 1, which each published after reading r.
  alignas(kCacheLine) std::atomic<std::uint32_t> published{0};  ///< rounds; by its rank
  alignas(kCacheLine) std::array<MailChunk, 2> chunks{};
};

/// Why a generation was aborted. A rank that aborts one claims a note (`word` becomes the
/// generation, being written), fills it and declares it complete before it aborts. Fields are
/// atomic words, since a rank may still be reading when the note is claimed for a later generation;
/// it then sees another `word`.
struct AbortNote {
  static constexpr std::uint64_t kWriting = 1;
  static constexpr std::uint64_t kComplete = 2;
  static constexpr std::uint64_t word_of(std::uint32_t generation, std::uint64_t state) noexcept {
    return std::uint64_t{generation} << 32 | state;
  }

  alignas(kCacheLine) std::atomic<std::uint64_t> word{0};
  std::atomic<std::uint64_t> code{0};  ///< ErrorCode
  std::atomic<std::uint64_t> rank{0};  ///< that the error is about, + 1; 0 is none
  static constexpr std::size_t kTextWords = 61;
  std::array<std::atomic<std::uint64_t>, kTextWords> text{};  ///< ends with 0
};

struct ControlSegment {
  // Written by the creator before any peer maps the segment.
  std::uint64_t magic = kControlMagic;
  std::uint32_t abi = kControlAbi;
  std::uint32_t rank_count = 0;

  /// 1 once `fault` is complete. Written by whoever completes it or finds it complete.
  alignas(kCacheLine) std::atomic<std::uint32_t> poison{0};
  FaultRecord fault;  ///< see fault_record.hpp
  /// See commit_word.hpp. Written by compare-and-swap by any rank.
  alignas(kCacheLine) std::atomic<std::uint64_t> commit{commit_word::kInitial};
  /// When the health file was last written (steady clock), and by which rank. By those who write
  /// it.
  alignas(kCacheLine) std::atomic<std::uint64_t> health_written_ns{0};
  std::atomic<std::uint32_t> health_writer{0};
  /// Of generation g: notes[g % size]. See AbortNote.
  std::array<AbortNote, 4> abort_notes{};

  RankBlock* blocks() noexcept { return reinterpret_cast<RankBlock*>(this + 1); }
  const RankBlock* blocks() const noexcept { return reinterpret_cast<const RankBlock*>(this + 1); }
  static std::size_t bytes_for(std::uint32_t rank_count) noexcept {
    return sizeof(ControlSegment) + rank_count * sizeof(RankBlock);
  }
};
static_assert(sizeof(ControlSegment) % alignof(RankBlock) == 0);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
                  std::atomic<std::uint64_t>::is_always_lock_free,
              "only lock-free atomics work between processes");

}  // namespace cohort::host
