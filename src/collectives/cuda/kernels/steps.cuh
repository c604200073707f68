#pragma once

// The steps of kernels whose threads do not loop over data: thread t takes lines t, t + grid, ...
// of every part, loads them at once, pushes them at once and polls them at once.

#include <cstdint>

#include "collectives/cuda/kernels/call.cuh"
#include "collectives/cuda/kernels/shapes.cuh"

namespace cohort::cuda {

template <Shape S, template <int> class Numbers, Protocol P, int U, int MEMBERS>
class Steps {
 protected:
  explicit __device__ Steps(const Args<MEMBERS>& args)
      : args_(args),
        call_(args.call),
        numbers_(args.call.dtype, args.call.reduce_op),
        thread_(blockIdx.x * blockDim.x + threadIdx.x),
        stride_(gridDim.x * blockDim.x) {}

  static constexpr std::uint32_t kWholeWarp = 0xffffffff;
  static constexpr bool kHasFlags = P == Protocol::flags;
  static constexpr int W = kHasFlags ? 2 : 4;
  using WordsType = Words<W>;
  using NumbersType = Numbers<W>;
  static constexpr bool kReduces =
      S == Shape::all_reduce || S == Shape::reduce_scatter || S == Shape::two_shot;
  static constexpr bool kSharesInput = S == Shape::all_reduce || S == Shape::gather;
  static constexpr bool kFlagsChunks = !kHasFlags && NumbersType::kHoldsSentinel;
  /// Peers whose lines a thread holds at once. Larger groups go in several steps.
  static constexpr int kWidth = MEMBERS <= 8 ? MEMBERS - 1 : 7;
  static constexpr bool kWide = MEMBERS - 1 > kWidth;
  /// After the last poll, so that the next kernel need not wait for these stores.
  static constexpr bool kStoresLate = S != Shape::two_shot;

  __device__ __forceinline__ std::uint32_t line(int u) const { return thread_ + u * stride_; }

  /// Lines that this rank gets from the peer at `k`, which may be beyond the last one.
  __device__ __forceinline__ std::uint32_t lines_from(std::uint32_t k) const {
    if constexpr (!kReduces) return args_.peer[k].out.lines;
    if constexpr (MEMBERS == 2) return call_.out.lines;
    return k < call_.peers ? call_.out.lines : 0;
  }
  __device__ __forceinline__ const Piece& piece_for(std::uint32_t k) const {
    return kSharesInput ? call_.in : args_.peer[k].in;
  }
  __device__ __forceinline__ bool is_peer(std::uint32_t k) const {
    return MEMBERS == 2 || k < call_.peers;
  }
  __device__ __forceinline__ std::uint32_t step_end() const { return kWide ? call_.peers : 1; }

  // --- push ---

  __device__ __forceinline__ void load_inputs() {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(u) < call_.in.lines) own_[u] = load_words<W>(call_.in, line(u));
    }
    if constexpr (!kSharesInput && !kWide) load_parts(0);
  }

  __device__ __forceinline__ void load_parts(std::uint32_t step) {
#pragma unroll
    for (int u = 0; u < U; ++u) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const Piece& piece = args_.peer[step + k].in;
        if (line(u) < piece.lines) held_[u][k] = load_words<W>(piece, line(u));
      }
    }
  }

  __device__ __forceinline__ void push() {
    for (std::uint32_t k = threadIdx.x; k < call_.peers; k += blockDim.x) {
      push_header(call_, turn_, args_.peer[k]);
      if constexpr (!kWide) break;
    }
    bool met_sentinel = false;
#pragma unroll 1
    for (std::uint32_t step = 0; step < step_end(); step += kWidth) {
      if constexpr (!kSharesInput && kWide) load_parts(step);
#pragma unroll
      for (int u = 0; u < U; ++u) {
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
          if (!is_peer(step + k) || line(u) >= piece_for(step + k).lines) continue;
          const WordsType& words = kSharesInput ? own_[u] : held_[u][k];
          push_words(args_.peer[step + k], line(u), words, met_sentinel);
        }
      }
    }
    if constexpr (kFlagsChunks) flag_chunks(met_sentinel, 0);
  }

  __device__ __forceinline__ void push_words(const Peer& peer, std::uint32_t index,
                                             const WordsType& words, bool& met_sentinel) {
    delay_at(Site::data);
    if constexpr (kHasFlags) {
      store_line(flag_line_place(turn_, source_at(peer), index) + peer.distance,
                 {words.word[0], turn_.flag, words.word[1], turn_.flag});
    } else {
      const WordsType sent = numbers_.sendable(words);
      if constexpr (kFlagsChunks) met_sentinel |= !has_arrived(sent);
      store_line(data_place(turn_, line_at(peer) + index) + peer.distance, sent);
    }
  }

  /// For words that look like "not arrived": the warp's whole chunk, for each peer.
  __device__ __forceinline__ void flag_chunks(bool met_sentinel, std::uint32_t region) {
    if (!__any_sync(kWholeWarp, met_sentinel)) [[likely]]
      return;
    __syncwarp();
    if (threadIdx.x % 32 != 0) return;
    delay_at(Site::chunk_flag);
    fence_system();  // after the whole warp's stores
    for (std::uint32_t k = 0; k < call_.peers; ++k) {
      const Peer& peer = args_.peer[k];
      const std::uint32_t lines = region != 0 ? call_.out.lines : piece_for(k).lines;
      for (int u = 0; u < U; ++u) {
        if (line(u) >= lines) continue;
        store_long(chunk_place(turn_, region + peer.to_line + line(u)) + peer.distance,
                   turn_.sequence);
      }
    }
  }

  __device__ __forceinline__ void keep_own_part() {
    if (call_.in.address == call_.out.address) return;
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(u) < call_.out.lines) store_words<W>(call_.out, line(u), own_[u]);
    }
  }

  // With one peer there is one source, at 0; spares loads and sums.
  __device__ __forceinline__ static std::uint32_t source_at(const Peer& peer) {
    return MEMBERS == 2 ? 0 : peer.source;
  }
  __device__ __forceinline__ static std::uint32_t line_at(const Peer& peer) {
    return MEMBERS == 2 ? 0 : peer.to_line;
  }
  __device__ __forceinline__ static std::uint32_t line_from(const Peer& peer) {
    return MEMBERS == 2 ? 0 : peer.from_line;
  }

  // --- poll ---

  __device__ __forceinline__ bool has_arrived(const Line& line) const {
    if constexpr (kHasFlags) return line.word[1] == turn_.flag && line.word[3] == turn_.flag;
    return line.word[0] != kSentinel && line.word[1] != kSentinel && line.word[2] != kSentinel &&
           line.word[3] != kSentinel;
  }

  __device__ __forceinline__ static WordsType words_of(const Line& line) {
    if constexpr (kHasFlags) {
      return {line.word[0], line.word[2]};
    } else {
      return line;
    }
  }

  __device__ __forceinline__ char* place_from(std::uint32_t k, std::uint32_t index,
                                              std::uint32_t region) const {
    if constexpr (kHasFlags) return flag_line_place(turn_, k, index);
    return data_place(turn_, region + line_from(args_.peer[k]) + index);
  }

  /// Of large groups: before their data, so that a mismatch ends the wait for them.
  __device__ __forceinline__ void wait_for_headers() {
    for (std::uint32_t k = threadIdx.x; k < call_.peers && !fault_.is_set(); k += blockDim.x) {
      for (;;) {
        const Line header = load_line(header_place(turn_, k, blockIdx.x));
        if (is_of_this_call(header, turn_)) {
          compare_header(call_, header, args_.peer[k].member, fault_);
          break;
        }
        if (!gives_up(call_, watch_, fault_)) continue;
        fault_.member = args_.peer[k].member;
        break;
      }
    }
  }

  /// Awaits line(u) of `lines(k)` lines from each peer of a step, and the header of a peer by one
  /// thread of each block.
  template <class LinesFrom>
  __device__ __forceinline__ void poll(std::uint32_t step, std::uint32_t region, bool heads,
                                       LinesFrom lines) {
    Line got[U][kWidth];
    Line header;
    std::uint32_t at_face_value = 0;  // of which a chunk flag came: bit u * kWidth + k
    for (;;) {
      if (heads) header = load_line(header_place(turn_, threadIdx.x, blockIdx.x));
#pragma unroll
      for (int u = 0; u < U; ++u) {
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
          if (line(u) < lines(step + k))
            got[u][k] = load_line(place_from(step + k, line(u), region));
        }
      }
      std::uint32_t missing = 0;
#pragma unroll
      for (int u = 0; u < U; ++u) {
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
          if (line(u) < lines(step + k) && !has_arrived(got[u][k]))
            missing |= 1U << (u * kWidth + k);
        }
      }
      if constexpr (kFlagsChunks) missing &= ~at_face_value;
      bool waits_for_header = false;
      if (heads) {
        waits_for_header = !is_of_this_call(header, turn_);
        if (!waits_for_header) {
          compare_header(call_, header, args_.peer[threadIdx.x].member, fault_);
        }
      }
      if (fault_.is_set() || (missing == 0 && !waits_for_header)) break;
      if (gives_up(call_, watch_, fault_)) {
        const std::uint32_t k = missing == 0 ? threadIdx.x : step + (__ffs(missing) - 1) % kWidth;
        fault_.member = args_.peer[k].member;
        break;
      }
      if constexpr (kFlagsChunks) {
        if (watch_.polls % kPollsBetweenChunkFlags == 0) {
          at_face_value |= flagged_chunks(missing, step, region);
        }
      }
    }
    delay_at(Site::arrived);
#pragma unroll
    for (int u = 0; u < U; ++u) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) held_[u][k] = words_of(got[u][k]);
    }
  }

  /// Which of the missing lines are there all the same: they hold the sentinel.
  __device__ __forceinline__ std::uint32_t flagged_chunks(std::uint32_t missing, std::uint32_t step,
                                                          std::uint32_t region) const {
    std::uint32_t flagged = 0;
    for (std::uint32_t left = missing; left != 0; left &= left - 1) {
      const std::uint32_t bit = __ffs(left) - 1;
      const Peer& peer = args_.peer[step + bit % kWidth];
      const std::uint32_t index = region + peer.from_line + thread_ + bit / kWidth * stride_;
      if (load_long(chunk_place(turn_, index)) == turn_.sequence) flagged |= 1U << bit;
    }
    if (flagged != 0) fence_system();  // before the loads that take them
    return flagged;
  }

  __device__ __forceinline__ void clear(std::uint32_t k, std::uint32_t index,
                                        std::uint32_t region) {
    if constexpr (kHasFlags) return;
    delay_at(Site::clear);
    store_own_line(place_from(k, index, region), {kSentinel, kSentinel, kSentinel, kSentinel});
  }

  const Args<MEMBERS>& args_;
  const CallArgs& call_;
  const NumbersType numbers_;
  const std::uint32_t thread_;
  const std::uint32_t stride_;
  Turn turn_;
  Fault fault_;
  Watch watch_;
  WordsType own_[U];
  WordsType held_[U][kWidth];
  typename NumbersType::Sum sum_[U];
};

}  // namespace cohort::cuda
