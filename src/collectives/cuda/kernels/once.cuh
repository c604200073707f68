#pragma once

// One push, one poll: small code is what makes small calls fast. `two_shot` runs the steps twice:
// first each member reduces its part of the operand, then it passes the result on.

#include <cstdint>

#include "collectives/cuda/kernels/steps.cuh"

namespace cohort::cuda {

template <Shape S, template <int> class Numbers, Protocol P, int U, int MEMBERS>
class Once : Steps<S, Numbers, P, U, MEMBERS> {
  using Base = Steps<S, Numbers, P, U, MEMBERS>;

  using Base::args_;
  using Base::call_;
  using Base::clear;
  using Base::fault_;
  using Base::flag_chunks;
  using Base::held_;
  using Base::keep_own_part;
  using Base::kFlagsChunks;
  using Base::kHasFlags;
  using Base::kReduces;
  using Base::kStoresLate;
  using Base::kWholeWarp;
  using Base::kWide;
  using Base::kWidth;
  using Base::line;
  using Base::lines_from;
  using Base::load_inputs;
  using Base::numbers_;
  using Base::own_;
  using Base::poll;
  using Base::push;
  using Base::push_words;
  using Base::step_end;
  using Base::sum_;
  using Base::turn_;
  using Base::W;
  using Base::wait_for_headers;
  using typename Base::WordsType;

 public:
  explicit __device__ Once(const Args<MEMBERS>& args) : Base(args) {}

  __device__ __forceinline__ void run() {
    wait_for_kernel_before();
    load_inputs();
    const Entry entry = load_entry(call_);
    turn_ = begin_turn(call_, entry, fault_);
    // Votes below need whole warps.
    if constexpr (kFlagsChunks) {
      fault_.kind = static_cast<FaultRecord::Kind>(
          __shfl_sync(kWholeWarp, static_cast<std::uint32_t>(fault_.kind), 0));
    }
    if (!fault_.is_set()) {
      push();
      if constexpr (!kReduces) keep_own_part();
      count_and_sweep();
      if constexpr (kWide) wait_for_headers();
      receive();
      if constexpr (S == Shape::two_shot) pass_on();
    }
    let_next_kernel_start();
    if constexpr (!kWide && kStoresLate) store_results();
    if (fault_.is_set()) report(call_, args_.peer, turn_, fault_);
    if (__syncthreads_or(fault_.is_set() ? 1 : 0) != 0) invalidate();
    if (threadIdx.x == 0) add_share(call_);
  }

 private:
  // --- results ---

  __device__ __forceinline__ void receive() {
    const auto lines = [this](std::uint32_t k) { return lines_from(k); };
#pragma unroll 1
    for (std::uint32_t step = 0; step < step_end() && !fault_.is_set(); step += kWidth) {
      poll(step, 0, !kWide && threadIdx.x < call_.peers, lines);
      if constexpr (kWide || !kStoresLate) {
        if (!fault_.is_set()) consume(step);
      }
    }
    if constexpr (kWide && S != Shape::two_shot && kReduces) {
      if (!fault_.is_set()) store_sums();
    }
  }

  __device__ __forceinline__ void store_results() {
    if (fault_.is_set()) return;
    consume(0);
    if constexpr (kReduces) store_sums();
  }

  __device__ __forceinline__ void consume(std::uint32_t step) {
#pragma unroll
    for (int u = 0; u < U; ++u) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        if constexpr (kReduces) {
          if (line(u) < call_.out.lines) add_in_order(u, k, step + k);
        }
        if (line(u) >= lines_from(step + k)) continue;
        if constexpr (!kReduces) store_words<W>(args_.peer[step + k].out, line(u), held_[u][k]);
        clear(step + k, line(u), 0);
      }
    }
  }

  /// By group rank: oneself comes before the source of the same number.
  __device__ __forceinline__ void add_in_order(int u, int k, std::uint32_t source) {
    if constexpr (MEMBERS == 2) {  // of two the order does not show
      sum_[u] = numbers_.begin(own_[u]);
      numbers_.add(sum_[u], held_[u][k]);
      return;
    }
    if (source >= call_.peers) return;
    if (source == call_.self) add(u, own_[u], source == 0);
    add(u, held_[u][k], source == 0 && call_.self != 0);
  }

  __device__ __forceinline__ void add(int u, const WordsType& words, bool is_first) {
    if (is_first) {
      sum_[u] = numbers_.begin(words);
    } else {
      numbers_.add(sum_[u], words);
    }
  }

  /// What is in sum_ becomes the result, in own_.
  __device__ __forceinline__ void end_sum(int u) {
    if (MEMBERS != 2 && call_.self == call_.peers) numbers_.add(sum_[u], own_[u]);
    own_[u] = numbers_.end(sum_[u]);
  }

  __device__ __forceinline__ void store_sums() {
#pragma unroll
    for (int u = 0; u < U; ++u) {
      if (line(u) >= call_.out.lines) continue;
      end_sum(u);
      store_words<W>(call_.out, line(u), own_[u]);
    }
  }

  // --- the second step of two_shot ---

  __device__ __forceinline__ void pass_on() {
    bool met_sentinel = false;
    if (!fault_.is_set()) {
      store_sums();
#pragma unroll
      for (int u = 0; u < U; ++u) {
        if (line(u) >= call_.out.lines) continue;
        for (std::uint32_t k = 0; k < call_.peers; ++k) {
          push_words(args_.peer[k], call_.second_line + line(u), own_[u], met_sentinel);
        }
      }
    }
    if constexpr (kFlagsChunks) flag_chunks(met_sentinel, call_.second_line);
    const auto lines = [this](std::uint32_t k) { return args_.peer[k].out.lines; };
#pragma unroll 1
    for (std::uint32_t step = 0; step < step_end() && !fault_.is_set(); step += kWidth) {
      poll(step, call_.second_line, false, lines);
      if (fault_.is_set()) return;
#pragma unroll
      for (int u = 0; u < U; ++u) {
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
          if (line(u) >= lines(step + k)) continue;
          store_words<W>(args_.peer[step + k].out, line(u), held_[u][k]);
          clear(step + k, line(u), call_.second_line);
        }
      }
    }
  }

  // --- the end ---

  /// Own lines only: another block may still store its results.
  __device__ __forceinline__ void invalidate() {
    const std::uint32_t word = numbers_.invalid();
#pragma unroll 1
    for (int u = 0; u < U; ++u) {
      invalidate_line(call_.out, line(u), W, word);
      if constexpr (!kReduces || S == Shape::two_shot) {
#pragma unroll 1
        for (std::uint32_t k = 0; k < call_.peers; ++k) {
          invalidate_line(args_.peer[k].out, line(u), W, word);
        }
      }
    }
  }

  /// While the data are on their way.
  __device__ __forceinline__ void count_and_sweep() {
    if (blockIdx.x != 0) return;
    for (std::uint32_t k = threadIdx.x; k < call_.peers; k += blockDim.x) {
      sweep_stale_flags(turn_, k, kHasFlags ? lines_from(k) : 0);
    }
    if (threadIdx.x == 0) count(call_);
  }
};

template <Shape S, template <int> class Numbers, Protocol P, int U, int MEMBERS>
__global__ void __launch_bounds__(1024) once(const __grid_constant__ Args<MEMBERS> args) {
  Once<S, Numbers, P, U, MEMBERS>(args).run();
}

}  // namespace cohort::cuda
