#pragma once

// Large operands: some of a block's warps push, tile by tile, the others consume what arrives, so
// that the wire never waits for the sums. Scratch holds whole operands, so pushers wait for nobody.
// Every operation is the same here: lines of one piece go to each peer, and what comes is either
// combined with an own piece or stored.
//
// Pushers need only keep the wire busy, and a consumer that sums has more to do for a line. So of
// sums in groups of two there are three consumers for each pusher, who has three times as many
// lines in flight: 5 % faster than as many pushers as consumers.
//
// Who pushes a line and who consumes it need not agree: only headers belong to blocks.

#include <cstdint>

#include "collectives/cuda/kernels/call.cuh"
#include "collectives/cuda/kernels/numbers.cuh"

namespace cohort::cuda {

/// In place of a reduction: bytes are moved as they are.
struct Untouched {
  static constexpr bool kReduces = false;
  static constexpr bool kHoldsSentinel = true;
  struct Sum {};
  __device__ Untouched(DType /*dtype*/, ReduceOp /*op*/) {}
  __device__ std::uint32_t invalid() const { return kInvalidBytes; }
  __device__ Line sendable(const Line& line) const { return line; }
};

template <class Numbers>
struct Reduced : Numbers {
  static constexpr bool kReduces = true;
  using Numbers::Numbers;
};

/// Tiles whose lines a warp of pushers has loaded, for calls in place: what the consumers of the
/// same lines store would overwrite what is still to be pushed.
struct SplitProgress {
  std::uint32_t tiles[16];
};

/// Consumers for each pusher.
template <class Numbers, int MEMBERS>
inline constexpr std::uint32_t kConsumers = MEMBERS == 2 && Numbers::kReduces ? 3 : 1;

/// A tile is what each consumer of a block has `U` lines of, and each pusher `U * kShare`.
template <class Numbers, int U, int MEMBERS>
class Split {
 public:
  __device__ Split(const Args<MEMBERS>& args, SplitProgress& progress)
      : args_(args),
        call_(args.call),
        progress_(progress),
        numbers_(args.call.dtype, args.call.reduce_op),
        pushers_(blockDim.x / (1 + kShare)),
        pushes_(threadIdx.x < pushers_),
        thread_(pushes_ ? threadIdx.x : threadIdx.x - pushers_),
        width_(pushes_ ? pushers_ : blockDim.x - pushers_),
        lane_(threadIdx.x % 32),
        first_(std::uint64_t{blockIdx.x} * tile_lines()),
        step_(std::uint64_t{gridDim.x} * tile_lines()) {}

  __device__ void run() {
    if (threadIdx.x < pushers_ / 32) progress_.tiles[threadIdx.x] = 0;
    wait_for_kernel_before();
    const Entry entry = load_entry(call_);
    turn_ = begin_turn(call_, entry, fault_);
    // Votes below need whole warps, and warps of the same lines need each other.
    if (__syncthreads_or(fault_.is_set() ? 1 : 0) == 0) {
      if (pushes_) {
        push_all();
        // Behind the push, not the polls: the next kernel waits for this one's end anyway.
        let_next_kernel_start();
      } else {
        consume_all();
      }
    }
    if (fault_.is_set()) report(call_, args_.peer, turn_, fault_);
    if (__syncthreads_or(fault_.is_set() ? 1 : 0) != 0 && !pushes_) invalidate();
    end();
  }

 private:
  static constexpr bool kReduces = Numbers::kReduces;
  static constexpr bool kFlagsChunks = Numbers::kHoldsSentinel;
  static constexpr std::uint32_t kShare = kConsumers<Numbers, MEMBERS>;
  static constexpr int kPushed = U * static_cast<int>(kShare);
  static constexpr std::uint32_t kWholeWarp = 0xffffffff;

  __device__ std::uint32_t peers() const { return MEMBERS == 2 ? 1 : call_.peers; }
  __device__ std::uint32_t tile_lines() const { return pushers_ * kPushed; }
  /// Of the tile that begins at `base`, for this thread.
  __device__ std::uint64_t line(std::uint64_t base, int u) const {
    return base + thread_ + u * width_;
  }

  // --- push -------------------------------------------------------------------------------------

  __device__ void push_all() {
    for (std::uint32_t k = thread_; k < peers(); k += pushers_) {
      push_header(call_, turn_, args_.peer[k]);
    }
    std::uint64_t lines = kReduces ? 0 : call_.in.lines;
    for (std::uint32_t k = 0; k < peers(); ++k) {
      if (lines < args_.peer[k].in.lines) lines = args_.peer[k].in.lines;
    }
    const bool in_place = call_.in.address == call_.out.address;
    std::uint32_t tile = 0;
    for (std::uint64_t base = first_; base < lines; base += step_) {
      for (std::uint32_t k = 0; k < peers(); ++k) push(args_.peer[k], base);
      if constexpr (kReduces) {
        if (in_place) show_progress(++tile);
      } else {
        if (!in_place) keep_own_part(base);
      }
    }
    if constexpr (kReduces) {
      if (in_place) show_progress(kAllTiles);
    }
  }

  __device__ __forceinline__ void push(const Peer& peer, std::uint64_t base) {
    Line lines[kPushed];
#pragma unroll
    for (int u = 0; u < kPushed; ++u) {
      if (line(base, u) < peer.in.lines) lines[u] = load_words<4>(peer.in, index(base, u));
    }
#pragma unroll
    for (int u = 0; u < kPushed; ++u) {
      bool met_sentinel = false;
      if (line(base, u) < peer.in.lines) {
        delay_at(Site::data);
        const Line sent = numbers_.sendable(lines[u]);
        store_line(data_place(turn_, peer.to_line + index(base, u)) + peer.distance, sent);
        met_sentinel = kFlagsChunks && !has_arrived(sent);
      }
      if constexpr (kFlagsChunks) flag_chunk(peer, base, u, met_sentinel);
    }
  }

  /// For words that look like "not arrived": the warp's whole chunk.
  __device__ __forceinline__ void flag_chunk(const Peer& peer, std::uint64_t base, int u,
                                             bool met_sentinel) {
    if (!__any_sync(kWholeWarp, met_sentinel)) [[likely]]
      return;
    __syncwarp();
    if (lane_ != 0) return;
    delay_at(Site::chunk_flag);
    fence_system();  // after the whole warp's stores
    store_long(chunk_place(turn_, peer.to_line + index(base, u)) + peer.distance, turn_.sequence);
  }

  __device__ __forceinline__ void keep_own_part(std::uint64_t base) {
#pragma unroll
    for (int u = 0; u < kPushed; ++u) {
      if (line(base, u) >= call_.in.lines) continue;
      store_words<4>(call_.out, index(base, u), load_words<4>(call_.in, index(base, u)));
    }
  }

  /// The warp has loaded what it pushes of `tiles` tiles.
  __device__ void show_progress(std::uint32_t tiles) {
    __syncwarp();
    if (lane_ != 0) return;
    __threadfence_block();
    *static_cast<volatile std::uint32_t*>(&progress_.tiles[thread_ / 32]) = tiles;
  }

  /// Of the warp of pushers that has this warp's lines: consumers are a multiple of them.
  __device__ void await_progress(std::uint32_t tiles) {
    volatile std::uint32_t* const shown = &progress_.tiles[thread_ % pushers_ / 32];
    while (*shown < tiles) {
    }
    __threadfence_block();
  }

  // --- consume ----------------------------------------------------------------------------------

  __device__ void consume_all() {
    for (std::uint32_t k = thread_; k < peers(); k += width_) wait_for_header(k);
    std::uint64_t lines = kReduces ? call_.out.lines : 0;
    if constexpr (!kReduces) {
      for (std::uint32_t k = 0; k < peers(); ++k) {
        if (lines < args_.peer[k].out.lines) lines = args_.peer[k].out.lines;
      }
    }
    const bool in_place = call_.in.address == call_.out.address;
    std::uint32_t tile = 0;
    for (std::uint64_t base = first_; base < lines && !fault_.is_set(); base += step_) {
      if constexpr (kReduces) {
        reduce(base, in_place ? ++tile : 0);
      } else {
        for (std::uint32_t k = 0; k < peers() && !fault_.is_set(); ++k) move(k, base);
      }
    }
  }

  __device__ void wait_for_header(std::uint32_t k) {
    while (!fault_.is_set()) {
      const Line header = load_line(header_place(turn_, k, blockIdx.x));
      if (is_of_this_call(header, turn_)) {
        return compare_header(call_, header, args_.peer[k].member, fault_);
      }
      if (gives_up(call_, watch_, fault_)) fault_.member = args_.peer[k].member;
    }
  }

  __device__ __forceinline__ void reduce(std::uint64_t base, std::uint32_t tiles) {
    typename Numbers::Sum sums[U];
    Line own[U];
    Line lines[U];
    load_own(base, own);           // in flight while the peers' are polled
    if constexpr (MEMBERS == 2) {  // of two the order does not show
      if (!pull(0, base, call_.out.lines, lines)) return;
      begin_or_add(sums, own, true);
      begin_or_add(sums, lines, false);
    } else {
      for (std::uint32_t member = 0; member <= call_.peers; ++member) {
        if (member == call_.self) {
          begin_or_add(sums, own, member == 0);
          continue;
        }
        const std::uint32_t source = member - (member < call_.self ? 0 : 1);
        if (!pull(source, base, call_.out.lines, lines)) return;
        begin_or_add(sums, lines, member == 0);
      }
    }
    if (tiles != 0) await_progress(tiles);
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(base, u) >= call_.out.lines) continue;
      store_words<4>(call_.out, index(base, u), numbers_.end(sums[u]));
    }
  }

  __device__ __forceinline__ void load_own(std::uint64_t base, Line (&lines)[U]) const {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(base, u) < call_.in.lines) lines[u] = load_words<4>(call_.in, index(base, u));
    }
  }

  __device__ __forceinline__ void begin_or_add(typename Numbers::Sum (&sums)[U],
                                               const Line (&lines)[U], bool begins) const {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (begins) {
        sums[u] = numbers_.begin(lines[u]);
      } else {
        numbers_.add(sums[u], lines[u]);
      }
    }
  }

  __device__ __forceinline__ void move(std::uint32_t k, std::uint64_t base) {
    const Piece& out = args_.peer[k].out;
    Line lines[U];
    if (!pull(k, base, out.lines, lines)) return;
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(base, u) < out.lines) store_words<4>(out, index(base, u), lines[u]);
    }
  }

  /// Awaits a tile's lines of `count` from a source, and clears their places for the call after
  /// next. False if they do not come.
  __device__ __forceinline__ bool pull(std::uint32_t k, std::uint64_t base, std::uint64_t count,
                                       Line (&lines)[U]) {
    const std::uint32_t from = MEMBERS == 2 ? 0 : args_.peer[k].from_line;
    std::uint32_t at_face_value = 0;  // of which a chunk flag came
    for (;;) {
#pragma unroll
      for (int u = 0; u < U; ++u) {
        if (line(base, u) < count) lines[u] = load_line(data_place(turn_, from + index(base, u)));
      }
      std::uint32_t missing = 0;
#pragma unroll
      for (int u = 0; u < U; ++u) {
        if (line(base, u) < count && !has_arrived(lines[u])) missing |= 1U << u;
      }
      if constexpr (kFlagsChunks) missing &= ~at_face_value;
      if (missing == 0) break;
      if (gives_up(call_, watch_, fault_)) {
        fault_.member = args_.peer[k].member;
        return false;
      }
      if constexpr (kFlagsChunks) {
        if (watch_.polls % kPollsBetweenChunkFlags == 0) {
          at_face_value |= flagged_chunks(missing, from, base);
        }
      }
    }
    delay_at(Site::arrived);
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(base, u) >= count) continue;
      delay_at(Site::clear);
      store_own_line(data_place(turn_, from + index(base, u)),
                     {kSentinel, kSentinel, kSentinel, kSentinel});
    }
    return true;
  }

  /// Which of the missing lines are there all the same: they hold the sentinel.
  __device__ std::uint32_t flagged_chunks(std::uint32_t missing, std::uint32_t from,
                                          std::uint64_t base) const {
    std::uint32_t flagged = 0;
    for (int u = 0; u < U; ++u) {
      if ((missing >> u & 1U) == 0) continue;
      if (load_long(chunk_place(turn_, from + index(base, u))) == turn_.sequence)
        flagged |= 1U << u;
    }
    if (flagged != 0) fence_system();  // before the loads that take them
    return flagged;
  }

  // --- the end ----------------------------------------------------------------------------------

  /// What this thread would have stored, and where a reduction's or the own part goes: other blocks
  /// may still store their results.
  __device__ void invalidate() {
    const std::uint32_t word = numbers_.invalid();
    fill(call_.out, {word, word, word, word});
    if constexpr (!kReduces) {
      for (std::uint32_t k = 0; k < peers(); ++k) {
        fill(args_.peer[k].out, {word, word, word, word});
      }
    }
  }

  __device__ void fill(const Piece& out, const Line& content) {
    for (std::uint64_t base = first_; base < out.lines; base += step_) {
      for (int u = 0; u < U; ++u) {
        if (line(base, u) < out.lines) store_words<4>(out, index(base, u), content);
      }
    }
  }

  __device__ void end() {
    if (blockIdx.x == 0) {
      for (std::uint32_t k = threadIdx.x; k < peers(); k += blockDim.x) {
        sweep_stale_flags(turn_, k, 0);
      }
    }
    if (threadIdx.x == 0) end_turn(call_);
  }

  __device__ __forceinline__ static bool has_arrived(const Line& line) {
    return line.word[0] != kSentinel && line.word[1] != kSentinel && line.word[2] != kSentinel &&
           line.word[3] != kSentinel;
  }
  __device__ __forceinline__ std::uint32_t index(std::uint64_t base, int u) const {
    return static_cast<std::uint32_t>(line(base, u));
  }

  static constexpr std::uint32_t kAllTiles = 0xffffffff;

  const Args<MEMBERS>& args_;
  const CallArgs& call_;
  SplitProgress& progress_;
  const Numbers numbers_;
  const std::uint32_t pushers_;  ///< of the block, the first ones
  const bool pushes_;
  const std::uint32_t thread_;  ///< among pushers or consumers
  const std::uint32_t width_;   ///< as many of them as there are
  const std::uint32_t lane_;
  const std::uint64_t first_;  ///< line of this block's first tile
  const std::uint64_t step_;
  Turn turn_;
  Fault fault_;
  Watch watch_;
};

template <class Numbers, int U, int MEMBERS>
__global__ void __launch_bounds__(1024) split(const __grid_constant__ Args<MEMBERS> args) {
  __shared__ SplitProgress progress;
  Split<Numbers, U, MEMBERS>(args, progress).run();
}

}  // namespace cohort::cuda
