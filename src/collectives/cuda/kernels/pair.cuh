#pragma once

// `once` for two members whose operands are aligned to lines: what nearly every call between two
// devices is, so that not an instruction is wasted on others. A call of 1 KiB takes 1.8 us, of
// which fetching instructions for the first time is a good part: what seldom happens is kept apart.

#include <cstdint>

#include "collectives/cuda/kernels/call.cuh"
#include "collectives/cuda/kernels/shapes.cuh"

namespace cohort::cuda {

template <Shape S, template <int> class Numbers, Protocol P, int U>
class Pair {
 public:
  explicit __device__ Pair(const Args<2>& args)
      : args_(args),
        call_(args.call),
        peer_(args.peer[0]),
        numbers_(args.call.dtype, args.call.reduce_op),
        thread_(blockIdx.x * blockDim.x + threadIdx.x),
        stride_(gridDim.x * blockDim.x),
        heads_(threadIdx.x == 0) {}

  __device__ __forceinline__ void run() {
    wait_for_kernel_before();
    load_inputs();
    begin();
    if (!fault_.is_set()) {
      push();
      if constexpr (!kReduces) keep_own_part();
      count_and_sweep();
      poll();
    }
    let_next_kernel_start();
    if (!fault_.is_set()) [[likely]]
      store_results();
    if (fault_.is_set()) report(call_, args_.peer, turn_, fault_);
    if (__syncthreads_or(fault_.is_set() ? 1 : 0) != 0) invalidate();
    if (threadIdx.x == 0) add_share(call_);
  }

 private:
  static constexpr std::uint32_t kWholeWarp = 0xffffffff;
  static constexpr bool kHasFlags = P == Protocol::flags;
  static constexpr int W = kHasFlags ? 2 : 4;
  using WordsType = Words<W>;
  using NumbersType = Numbers<W>;
  static constexpr bool kReduces = S == Shape::all_reduce || S == Shape::reduce_scatter;
  static constexpr bool kSharesInput = S == Shape::all_reduce || S == Shape::gather;
  static constexpr bool kFlagsChunks = !kHasFlags && NumbersType::kHoldsSentinel;

  __device__ __forceinline__ std::uint32_t line(int u) const { return thread_ + u * stride_; }
  __device__ __forceinline__ const Piece& pushed() const {
    return kSharesInput ? call_.in : peer_.in;
  }
  __device__ __forceinline__ const Piece& received() const {
    return kReduces ? call_.out : peer_.out;
  }
  __device__ __forceinline__ char* place(char* first, int u) const {
    return first + std::uint64_t{u * stride_} * kLineBytes;
  }

  __device__ __forceinline__ void load_inputs() {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(u) < pushed().lines) pushed_[u] = load_full_words<W>(pushed(), line(u));
      if constexpr (!kSharesInput) {
        if (line(u) < call_.in.lines) own_[u] = load_full_words<W>(call_.in, line(u));
      }
    }
  }

  __device__ __forceinline__ const WordsType& own(int u) const {
    return kSharesInput ? pushed_[u] : own_[u];
  }

  /// Addresses come first: they are ready before the entry is there.
  __device__ __forceinline__ void begin() {
    const Entry entry = load_entry(call_);
    header_ = call_.headers + blockIdx.x * kLineBytes;
    first_ = (kHasFlags ? call_.flag_lines : call_.data) + std::uint64_t{thread_} * kLineBytes;
    asm volatile("" : "+l"(header_), "+l"(first_));
    turn_ = begin_turn(call_, entry, fault_);
    if constexpr (kFlagsChunks) {  // votes below need whole warps
      fault_.kind = static_cast<FaultRecord::Kind>(
          __shfl_sync(kWholeWarp, static_cast<std::uint32_t>(fault_.kind), 0));
    }
    if ((turn_.flag & 1U) == 0) return;
    header_ += call_.headers_stride;
    first_ += kHasFlags ? call_.flag_lines_stride : call_.data_stride;
  }

  __device__ __forceinline__ void push() {
    if (heads_) {
      delay_at(Site::header);
      store_line(header_ + peer_.distance, header_line(call_, turn_));
    }
    bool met_sentinel = false;
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(u) >= pushed().lines) continue;
      delay_at(Site::data);
      char* to = place(first_, u) + peer_.distance;
      if constexpr (kHasFlags) {
        store_line(to, {pushed_[u].word[0], turn_.flag, pushed_[u].word[1], turn_.flag});
      } else {
        const WordsType sent = numbers_.sendable(pushed_[u]);
        if constexpr (kFlagsChunks) met_sentinel |= !has_arrived(sent);
        store_line(to, sent);
      }
    }
    if constexpr (kFlagsChunks) flag_chunks(met_sentinel);
  }

  __device__ __forceinline__ void flag_chunks(bool met_sentinel) {
    if (!__any_sync(kWholeWarp, met_sentinel)) [[likely]]
      return;
    __syncwarp();
    if (threadIdx.x % 32 != 0) return;
    delay_at(Site::chunk_flag);
    fence_system();  // after the whole warp's stores
#pragma unroll 1
    for (int u = 0; u < U; ++u) {
      if (line(u) >= pushed().lines) continue;
      store_long(chunk_place(turn_, line(u)) + peer_.distance, turn_.sequence);
    }
  }

  __device__ __forceinline__ void keep_own_part() {
    if (call_.in.address == call_.out.address) return;
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(u) < call_.out.lines) store_full_words<W>(call_.out, line(u), own(u));
    }
  }

  /// While the data are on their way.
  __device__ __forceinline__ void count_and_sweep() {
    if (thread_ != 0) return;
    sweep_stale_flags(turn_, 0, kHasFlags ? received().lines : 0);
    count(call_);
  }

  __device__ __forceinline__ bool has_arrived(const Line& line) const {
    if constexpr (kHasFlags) return line.word[1] == turn_.flag && line.word[3] == turn_.flag;
    return line.word[0] != kSentinel && line.word[1] != kSentinel && line.word[2] != kSentinel &&
           line.word[3] != kSentinel;
  }

  __device__ __forceinline__ void poll() {
    Line header;
    std::uint32_t at_face_value = 0;  // of which a chunk flag came: bit u
    for (;;) {
      if (heads_) header = load_line(header_);
#pragma unroll
      for (int u = 0; u < U; ++u) {
        if (line(u) < received().lines) got_[u] = load_line(place(first_, u));
      }
      bool here = !heads_ || is_of_this_call(header, turn_);
#pragma unroll
      for (int u = 0; u < U; ++u) {
        bool arrived = has_arrived(got_[u]);
        if constexpr (kFlagsChunks) arrived |= (at_face_value >> u & 1U) != 0;
        here &= line(u) >= received().lines || arrived;
      }
      if (here) break;
      if (heads_ && is_of_this_call(header, turn_)) {
        compare_header(call_, header, peer_.member, fault_);
        if (fault_.is_set()) return;
      }
      if (gives_up(call_, watch_, fault_)) {
        fault_.member = peer_.member;
        return;
      }
      if constexpr (kFlagsChunks) {
        if (watch_.polls % kPollsBetweenChunkFlags == 0) at_face_value = flagged_chunks();
      }
    }
    if (heads_) compare_header(call_, header, peer_.member, fault_);
    delay_at(Site::arrived);
  }

  __device__ __forceinline__ std::uint32_t flagged_chunks() const {
    std::uint32_t flagged = 0;
#pragma unroll 1
    for (int u = 0; u < U; ++u) {
      if (line(u) >= received().lines) continue;
      if (load_long(chunk_place(turn_, line(u))) == turn_.sequence) flagged |= 1U << u;
    }
    if (flagged != 0) fence_system();  // before the loads that take them
    return flagged;
  }

  __device__ __forceinline__ WordsType words_of(const Line& line) const {
    if constexpr (kHasFlags) {
      return {line.word[0], line.word[2]};
    } else {
      return line;
    }
  }

  __device__ __forceinline__ void store_results() {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(u) >= received().lines) continue;
      if constexpr (!kHasFlags) {
        delay_at(Site::clear);
        store_own_line(place(first_, u), {kSentinel, kSentinel, kSentinel, kSentinel});
      }
      WordsType result = words_of(got_[u]);
      if constexpr (kReduces) {  // of two the order does not show
        typename NumbersType::Sum sum = numbers_.begin(own(u));
        numbers_.add(sum, result);
        result = numbers_.end(sum);
      }
      store_full_words<W>(received(), line(u), result);
    }
  }

  /// Own lines only: another block may still store its results.
  __device__ __forceinline__ void invalidate() {
    const std::uint32_t word = numbers_.invalid();
#pragma unroll 1
    for (int u = 0; u < U; ++u) {
      invalidate_line(call_.out, line(u), W, word);
      if constexpr (!kReduces) invalidate_line(peer_.out, line(u), W, word);
    }
  }

  const Args<2>& args_;
  const CallArgs& call_;
  const Peer& peer_;
  const NumbersType numbers_;
  const std::uint32_t thread_;
  const std::uint32_t stride_;
  const bool heads_;  ///< its block: sends and awaits the header
  char* header_;      ///< this block's, in own scratch
  char* first_;       ///< this thread's first line there
  Turn turn_;
  Fault fault_;
  Watch watch_;
  WordsType pushed_[U];
  WordsType own_[U];
  Line got_[U];
};

template <Shape S, template <int> class Numbers, Protocol P, int U>
__global__ void __launch_bounds__(1024) pair(const __grid_constant__ Args<2> args) {
  Pair<S, Numbers, P, U>(args).run();
}

}  // namespace cohort::cuda
