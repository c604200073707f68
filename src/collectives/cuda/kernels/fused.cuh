#pragma once

// A sum over the group, and each row of it normed at once: all_reduce or reduce_scatter in one
// push, with a thread block for each row, so that a row's squares never leave it. Blocks push all
// of their rows, then take them as they arrive. The sum is rounded as the collective on its own
// rounds it, and the rest is norm.cuh: the same bits as the two calls one after the other.

#include <cstdint>

#include "collectives/cuda/kernels/call.cuh"
#include "collectives/cuda/kernels/norm.cuh"
#include "collectives/cuda/kernels/numbers.cuh"

namespace cohort::cuda {

template <int MEMBERS>
struct FusedArgs {
  Args<MEMBERS> args;
  NormArgs norm;
  std::uint32_t blocks_per_row;
};

/// `U` is NormShape::lines_per_thread.
template <class T, bool kScatters, int U, int MEMBERS>
class Fused {
 public:
  __device__ Fused(const FusedArgs<MEMBERS>& args, NormShared& shared)
      : call_(args.args.call),
        peer_(args.args.peer),
        norm_(args.norm),
        row_team_(shared),
        numbers_(args.args.call.dtype, ReduceOp::sum),
        team_(blockIdx.x / args.blocks_per_row),
        teams_(gridDim.x / args.blocks_per_row),
        takes_rows_((blockIdx.x + 1) % args.blocks_per_row == 0) {
    const std::uint32_t place = blockIdx.x % args.blocks_per_row;
    begin_ = norm_.lines * place / args.blocks_per_row;
    end_ = norm_.lines * (place + 1) / args.blocks_per_row;
  }

  __device__ __forceinline__ void run() {
    wait_for_kernel_before();
    const Entry entry = load_entry(call_);
    const std::uint32_t rows = call_.in.lines / norm_.lines;
    NormRow<BlockTeam, U> first;
    if (!kScatters && team_ < rows) load_part(first, own_row(team_));
    turn_ = begin_turn(call_, entry, fault_);
    if (!fault_.is_set()) push(rows, first);
    // Behind the push, not the polls: the next kernel waits for this one's end anyway.
    let_next_kernel_start();
    if (takes_rows_) take(rows);
    if (fault_.is_set()) report(call_, peer_, turn_, fault_);
    if (__syncthreads_or(fault_.is_set() ? 1 : 0) != 0 && takes_rows_) invalidate(rows);
    end();
  }

 private:
  /// Peers whose lines a thread polls at once.
  static constexpr int kWidth = MEMBERS == 2 ? 1 : U == 1 ? 7 : 8 / U;
  using Numbers = SumPairs<T, 4>;

  __device__ std::uint32_t peers() const { return MEMBERS == 2 ? 1 : call_.peers; }
  __device__ std::uint32_t index(int u) const { return threadIdx.x + u * blockDim.x; }
  __device__ const Line* row_of(const Piece& piece, std::uint32_t row) const {
    return reinterpret_cast<const Line*>(piece.address) + std::uint64_t{row} * norm_.lines;
  }
  __device__ const Line* own_row(std::uint32_t row) const { return row_of(call_.in, row); }

  // --- push -------------------------------------------------------------------------------------

  /// This block's part of a row: line u of a thread is begin_ + index(u).
  __device__ __forceinline__ void load_part(NormRow<BlockTeam, U>& part, const Line* row) const {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (begin_ + index(u) < end_) part.lines[u] = row[begin_ + index(u)];
    }
  }

  __device__ __forceinline__ void push(std::uint32_t rows, NormRow<BlockTeam, U>& first) {
    for (std::uint32_t k = threadIdx.x; k < peers(); k += blockDim.x) {
      push_header(call_, turn_, peer_[k]);
    }
    if constexpr (kScatters) {
      for (std::uint32_t k = 0; k < peers(); ++k) {
        const std::uint32_t count = peer_[k].in.lines / norm_.lines;
        for (std::uint32_t row = team_; row < count; row += teams_) {
          NormRow<BlockTeam, U> part;
          load_part(part, row_of(peer_[k].in, row));
          push_part(peer_[k], row, part);
        }
      }
    } else {
      for (std::uint32_t row = team_; row < rows; row += teams_) {
        if (row != team_) load_part(first, own_row(row));
        for (std::uint32_t k = 0; k < peers(); ++k) push_part(peer_[k], row, first);
      }
    }
  }

  __device__ __forceinline__ void push_part(const Peer& peer, std::uint32_t row,
                                            const NormRow<BlockTeam, U>& part) {
    const std::uint32_t line = (MEMBERS == 2 ? 0 : peer.to_line) + row * norm_.lines + begin_;
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (begin_ + index(u) >= end_) continue;
      delay_at(Site::data);
      store_line(data_place(turn_, line + index(u)) + peer.distance,
                 numbers_.sendable(part.lines[u]));
    }
  }

  // --- sum --------------------------------------------------------------------------------------

  __device__ __forceinline__ void take(std::uint32_t rows) {
    NormRow<BlockTeam, U> weight;
    weight.load(row_team_, norm_.weight, norm_.lines);
    await_headers_ = threadIdx.x < peers();
    std::uint32_t parity = 0;
    for (std::uint32_t row = team_; row < rows; row += teams_, parity ^= 1) {
      own_.load(row_team_, own_row(row), norm_.lines);
      NormRow<BlockTeam, U> residual;
      residual.load(row_team_, norm_.residual + std::uint64_t{row} * norm_.lines, norm_.lines);
      sum(row);
      norm_row<T>(norm_, row, parity, own_, residual, weight, row_team_);
    }
    // A block without rows has headers to compare all the same.
    if (await_headers_ && !fault_.is_set()) poll(threadIdx.x, 0, 0);
  }

  /// Makes the sum of a row's lines of own_, by group rank.
  __device__ __forceinline__ void sum(std::uint32_t row) {
    typename Numbers::Sum sums[U];
    bool begun = false;
    for (std::uint32_t step = 0; step < peers(); step += kWidth) {
      if (!fault_.is_set()) poll(step, row, norm_.lines);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        // Oneself comes before the source of the same number.
        if (MEMBERS == 2 || step + k == call_.self) add(sums, own_.lines, begun);
        if (MEMBERS == 2 || step + k < peers()) add(sums, got_[k], begun);
      }
    }
    if (MEMBERS != 2 && !(call_.self < (peers() + kWidth - 1) / kWidth * kWidth)) {
      add(sums, own_.lines, begun);
    }
#pragma unroll
    for (int u = 0; u < U; ++u) {
      // Lines beyond the row stay zeros: they count as squares of nothing.
      if (index(u) < norm_.lines) own_.lines[u] = numbers_.end(sums[u]);
    }
  }

  __device__ __forceinline__ void add(typename Numbers::Sum (&sums)[U], const Line (&lines)[U],
                                      bool& begun) const {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (begun) {
        numbers_.add(sums[u], lines[u]);
      } else {
        sums[u] = numbers_.begin(lines[u]);
      }
    }
    begun = true;
  }

  __device__ __forceinline__ char* place(std::uint32_t k, std::uint32_t row, int u) const {
    const std::uint32_t from = MEMBERS == 2 ? 0 : peer_[k].from_line;
    return data_place(turn_, from + row * norm_.lines + index(u));
  }

  /// Awaits the first `lines` lines of a row from each peer of a step, and clears their places; in
  /// the first row also the header of a peer.
  __device__ __forceinline__ void poll(std::uint32_t step, std::uint32_t row, std::uint32_t lines) {
    std::uint32_t missing = 0;  // the first peer + 1 whose line is
    do {
      Line header;
      if (await_headers_) header = load_line(header_place(turn_, threadIdx.x, blockIdx.x));
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
#pragma unroll
        for (int u = 0; u < U; ++u) {
          if (step + k < peers() && index(u) < lines)
            got_[k][u] = load_line(place(step + k, row, u));
        }
      }
      missing = 0;
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
#pragma unroll
        for (int u = 0; u < U; ++u) {
          if (step + k < peers() && index(u) < lines && !has_arrived(got_[k][u])) {
            missing = step + k + 1;
          }
        }
      }
      if (await_headers_) compare(header);
      if (missing == 0 && await_headers_) missing = threadIdx.x + 1;
      if (missing == 0 || fault_.is_set()) break;
      if (gives_up(call_, watch_, fault_)) fault_.member = peer_[missing - 1].member;
    } while (!fault_.is_set());
    if (fault_.is_set()) return;
    delay_at(Site::arrived);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
#pragma unroll
      for (int u = 0; u < U; ++u) {
        if (step + k >= peers() || index(u) >= lines) continue;
        store_own_line(place(step + k, row, u), {kSentinel, kSentinel, kSentinel, kSentinel});
      }
    }
  }

  __device__ __forceinline__ void compare(const Line& header) {
    if (!is_of_this_call(header, turn_)) return;
    compare_header(call_, header, peer_[threadIdx.x].member, fault_);
    await_headers_ = false;
  }

  __device__ __forceinline__ static bool has_arrived(const Line& line) {
    return line.word[0] != kSentinel && line.word[1] != kSentinel && line.word[2] != kSentinel &&
           line.word[3] != kSentinel;
  }

  // --- the end ----------------------------------------------------------------------------------

  /// Own rows only: other blocks may still store theirs.
  __device__ void invalidate(std::uint32_t rows) {
    const NormOutput form = norm_.output;
    const Line nan = {T::kNanPair, T::kNanPair, T::kNanPair, T::kNanPair};
    const Words<2> f8_nan = {kF8NanWord, kF8NanWord};
    for (std::uint32_t row = team_; row < rows; row += teams_) {
      for (std::uint32_t line = threadIdx.x; line < norm_.lines; line += blockDim.x) {
        const std::uint64_t at = std::uint64_t{row} * norm_.lines + line;
        norm_.residual_out[at] = nan;
        if (form == NormOutput::plain) {
          static_cast<Line*>(norm_.normed)[at] = nan;
        } else {
          static_cast<Words<2>*>(norm_.normed)[at] = f8_nan;
        }
      }
      if (form == NormOutput::f8_by_row && threadIdx.x == 0) {
        norm_.scales[row] = __uint_as_float(kNanF32);
      }
    }
  }

  __device__ __forceinline__ void end() {
    if (blockIdx.x == 0) {
      for (std::uint32_t k = threadIdx.x; k < peers(); k += blockDim.x) {
        sweep_stale_flags(turn_, k, 0);
      }
    }
    if (threadIdx.x == 0) end_turn(call_);
  }

  const CallArgs& call_;
  const Peer* peer_;
  const NormArgs& norm_;
  BlockTeam row_team_;
  const Numbers numbers_;
  const std::uint32_t team_;   ///< of the blocks that push a row together
  const std::uint32_t teams_;  ///< rows team_, team_ + teams_, ... are this one's
  const bool takes_rows_;      ///< the last of the team
  std::uint32_t begin_;        ///< of each row, the lines that this block pushes
  std::uint32_t end_;
  Turn turn_;
  Fault fault_;
  Watch watch_;
  bool await_headers_ = false;
  NormRow<BlockTeam, U> own_;
  Line got_[kWidth][U];
};

/// Two blocks on a multiprocessor where rows are short enough: with one, a row more than there are
/// multiprocessors would double the time.
constexpr int fused_blocks_min(int lines_per_thread, int members) noexcept {
  return lines_per_thread <= 2 && members == 2 ? 2 : 1;
}

template <class T, bool kScatters, int U, int MEMBERS>
__global__ void __launch_bounds__(kNormThreadsMax, fused_blocks_min(U, MEMBERS))
    fused(const __grid_constant__ FusedArgs<MEMBERS> args) {
  __shared__ NormShared shared;
  Fused<T, kScatters, U, MEMBERS>(args, shared).run();
}

}  // namespace cohort::cuda
