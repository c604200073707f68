#pragma once

// `fused` for two members, what nearly every such call is: like `pair` it holds nothing that only
// others need, and a row is taken by as many blocks as push it. All that a row's norm reads is
// loaded before the data are polled, so that behind their arrival there is only arithmetic.

#include <cstdint>

#include "collectives/cuda/kernels/call.cuh"
#include "collectives/cuda/kernels/cluster_team.cuh"
#include "collectives/cuda/kernels/norm.cuh"
#include "collectives/cuda/kernels/numbers.cuh"

namespace cohort::cuda {

struct FusedPairArgs {
  Args<2> args;
  NormArgs norm;
  std::uint32_t threads;  ///< of NormShape
  std::uint32_t rows;
  std::uint32_t peer_rows;  ///< that the peer gets
};

/// A thread's lines of the team's rows only: other blocks may still store theirs, and do the same.
/// Kept apart from the kernel, with arguments in registers, as it is seldom needed.
static __device__ __noinline__ void invalidate_rows(const FusedPairArgs* args, std::uint32_t first,
                                                    std::uint32_t step, std::uint32_t first_line,
                                                    std::uint32_t nan) {
  const NormArgs& norm = args->norm;
#pragma unroll 1
  for (std::uint32_t row = first; row < args->rows; row += step) {
#pragma unroll 1
    for (std::uint32_t line = first_line; line < norm.lines; line += args->threads) {
      const std::uint64_t at = std::uint64_t{row} * norm.lines + line;
      norm.residual_out[at] = {nan, nan, nan, nan};
      if (norm.output == NormOutput::plain) {
        static_cast<Line*>(norm.normed)[at] = {nan, nan, nan, nan};
      } else {
        static_cast<Words<2>*>(norm.normed)[at] = {kF8NanWord, kF8NanWord};
      }
    }
    if (norm.output == NormOutput::f8_by_row && first_line == 0) {
      norm.scales[row] = __uint_as_float(kNanF32);
    }
  }
}

/// `U` is NormShape::lines_per_thread.
template <class T, bool kScatters, int U>
class FusedPair {
 public:
  __device__ FusedPair(const FusedPairArgs& args, ClusterShared& shared)
      : args_(args),
        call_(args.args.call),
        peer_(args.args.peer[0]),
        norm_(args.norm),
        numbers_(args.args.call.dtype, ReduceOp::sum),
        team_(shared, args.threads),
        heads_(threadIdx.x == 0) {}

  __device__ __forceinline__ void run() {
    team_.begin();
    wait_for_kernel_before();
    Row pushed;
    Row weight;
    Row residual;
    if constexpr (kScatters) {
      if (team_.number() < args_.peer_rows) load(pushed, peer_.in, team_.number());
    }
    if (team_.number() < args_.rows) {
      load(own_, call_.in, team_.number());
      residual.load(team_, residual_row(team_.number()), norm_.lines);
      weight.load(team_, norm_.weight, norm_.lines);
    }
    begin();
    if (!fault_.is_set()) {
      push(kScatters ? pushed : own_);
      count_and_sweep();
    }
    team_.join();
    take(residual, weight);
    if (fault_.is_set()) report(call_, args_.args.peer, turn_, fault_);
    if (__syncthreads_or(fault_.is_set() || team_.has_fault() ? 1 : 0) != 0) {
      invalidate_rows(&args_, team_.number(), team_.count(), team_.index(0), T::kNanPair);
    }
    if (threadIdx.x == 0) add_share(call_);
  }

 private:
  using Numbers = SumPairs<T, 4>;
  using Row = NormRow<ClusterTeam, U>;

  __device__ bool has(int u) const { return team_.index(u) < norm_.lines; }
  __device__ const Line* residual_row(std::uint32_t row) const {
    return norm_.residual + std::uint64_t{row} * norm_.lines;
  }
  __device__ __forceinline__ void load(Row& lines, const Piece& piece, std::uint32_t row) const {
    const Line* rows = reinterpret_cast<const Line*>(piece.address);
    lines.load(team_, rows + std::uint64_t{row} * norm_.lines, norm_.lines);
  }
  /// In own scratch.
  __device__ __forceinline__ char* place(std::uint32_t row, int u) const {
    return data_ + (std::uint64_t{row} * norm_.lines + team_.index(u)) * kLineBytes;
  }

  /// Addresses come first: they are ready before the entry is there.
  __device__ __forceinline__ void begin() {
    const Entry entry = load_entry(call_);
    header_ = call_.headers + blockIdx.x * kLineBytes;
    data_ = call_.data;
    asm volatile("" : "+l"(header_), "+l"(data_));
    turn_ = begin_turn(call_, entry, fault_);
    if ((turn_.flag & 1U) == 0) return;
    header_ += call_.headers_stride;
    data_ += call_.data_stride;
  }

  // --- push -------------------------------------------------------------------------------------

  /// All rows of the team, the first of which is loaded.
  __device__ __forceinline__ void push(const Row& first) {
    if (heads_) {
      delay_at(Site::header);
      store_line(header_ + peer_.distance, header_line(call_, turn_));
    }
    const std::uint32_t rows = kScatters ? args_.peer_rows : args_.rows;
    if (team_.number() < rows) push_row(team_.number(), first);
#pragma unroll 1
    for (std::uint32_t row = team_.number() + team_.count(); row < rows; row += team_.count()) {
      Row lines;
      load(lines, kScatters ? peer_.in : call_.in, row);
      push_row(row, lines);
    }
  }

  __device__ __forceinline__ void push_row(std::uint32_t row, const Row& lines) {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (!has(u)) continue;
      delay_at(Site::data);
      store_line(place(row, u) + peer_.distance, numbers_.sendable(lines.lines[u]));
    }
  }

  /// While the data are on their way.
  __device__ __forceinline__ void count_and_sweep() {
    if (threadIdx.x != 0 || blockIdx.x != 0) return;
    sweep_stale_flags(turn_, 0, 0);
    count(call_);
  }

  // --- take -------------------------------------------------------------------------------------

  __device__ __forceinline__ void take(Row& residual, const Row& weight) {
    std::uint32_t turn = 0;
#pragma unroll 1
    for (std::uint32_t row = team_.number(); row < args_.rows; row += team_.count(), turn ^= 1) {
      if (row != team_.number()) {
        load(own_, call_.in, row);
        residual.load(team_, residual_row(row), norm_.lines);
      }
      if (!fault_.is_set()) poll(row);
      if (row + team_.count() >= args_.rows) let_next_kernel_start();
      team_.note_fault(fault_.is_set());
      norm_row<T>(norm_, row, turn, own_, residual, weight, team_);
    }
    // A block without rows has a header to compare all the same.
    if (heads_ && !fault_.is_set()) poll_header();
  }

  /// Awaits this thread's lines of a row, clears their places, and makes the sum of own_; in the
  /// first row also awaits the header.
  __device__ __forceinline__ void poll(std::uint32_t row) {
    Line got[U];
    Line header;
    for (;;) {
      if (heads_) header = load_line(header_);
#pragma unroll
      for (int u = 0; u < U; ++u) {
        if (has(u)) got[u] = load_line(place(row, u));
      }
      bool here = !heads_ || is_of_this_call(header, turn_);
#pragma unroll
      for (int u = 0; u < U; ++u) here &= !has(u) || has_arrived(got[u]);
      if (here) break;
      if (heads_ && compare(header) && fault_.is_set()) return;
      if (gives_up(call_, watch_, fault_)) {
        fault_.member = peer_.member;
        return;
      }
    }
    if (heads_) heads_ = !compare(header);
    delay_at(Site::arrived);
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (!has(u)) continue;
      delay_at(Site::clear);
      store_own_line(place(row, u), {kSentinel, kSentinel, kSentinel, kSentinel});
      own_.lines[u] = added<T>(own_.lines[u], got[u]);  // of two the order does not show
    }
  }

  __device__ __forceinline__ void poll_header() {
    while (!compare(load_line(header_))) {
      if (!gives_up(call_, watch_, fault_)) continue;
      fault_.member = peer_.member;
      return;
    }
  }

  /// Whether the header is of this call; sets a fault if it tells of another one.
  __device__ __forceinline__ bool compare(const Line& header) {
    if (!is_of_this_call(header, turn_)) return false;
    compare_header(call_, header, peer_.member, fault_);
    return true;
  }

  __device__ __forceinline__ static bool has_arrived(const Line& line) {
    return line.word[0] != kSentinel && line.word[1] != kSentinel && line.word[2] != kSentinel &&
           line.word[3] != kSentinel;
  }

  const FusedPairArgs& args_;
  const CallArgs& call_;
  const Peer& peer_;
  const NormArgs& norm_;
  const Numbers numbers_;
  ClusterTeam team_;
  bool heads_;    ///< sends its block's header, and still awaits the peer's
  char* header_;  ///< this block's, in own scratch
  char* data_;    ///< own scratch
  Turn turn_;
  Fault fault_;
  Watch watch_;
  Row own_;
};

/// Teams of several blocks have short ones, with registers to spare. Where one block takes a row
/// alone, two should fit on a multiprocessor: with one, a row more than there are multiprocessors
/// would double the time.
#if __CUDA_ARCH__ >= 900
inline constexpr int kPairBlocksMin[] = {0, 2, 1, 0, 1};
#else
inline constexpr int kPairBlocksMin[] = {0, 2, 2, 0, 1};
#endif

template <class T, bool kScatters, int U>
__global__ void __launch_bounds__(kNormThreadsMax, kPairBlocksMin[U])
    fused_pair(const __grid_constant__ FusedPairArgs args) {
  __shared__ ClusterShared shared;
  FusedPair<T, kScatters, U>(args, shared).run();
}

}  // namespace cohort::cuda
