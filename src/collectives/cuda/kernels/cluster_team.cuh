#pragma once

// The threads of several blocks that take a row together: a cluster, whose blocks store into each
// other's shared memory. A row that one block takes alone passes through one multiprocessor five
// times; spread over a few of them it is faster.
//
// A thread has the lines, and its warp's sum the place, that they have where one block takes the
// row, so the row's squares are added in the same order. Devices without clusters have teams of one
// block.

#include <cstdint>

#include "collectives/cuda/kernels/norm.cuh"

namespace cohort::cuda {

inline constexpr std::uint32_t kClusterBlocksMax = 8;  ///< that every device with clusters can

/// What the blocks of a team send each other. Two of each, used by rows in turn, as in NormShared.
/// A barrier's phase ends when its block has armed it and all warps' words have come.
struct ClusterShared {
  std::uint64_t came[2][2];  ///< of sums, and of largest ones
  std::uint32_t words[2][2][32];
};

class ClusterTeam {
 public:
  /// `threads` are those of NormShape, dealt out to the blocks in whole warps.
  __device__ ClusterTeam(ClusterShared& shared, std::uint32_t threads)
      : shared_(shared), threads_(threads) {
    std::uint32_t rank = 0;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0,%%cluster_ctarank;" : "=r"(rank));
    asm("mov.u32 %0,%%cluster_nctarank;" : "=r"(size_));
    asm("mov.u32 %0,%%clusterid.x;" : "=r"(number_));
    asm("mov.u32 %0,%%nclusterid.x;" : "=r"(count_));
#else
    number_ = blockIdx.x;
    count_ = gridDim.x;
#endif
    const std::uint32_t thread = rank * blockDim.x + threadIdx.x;
    warp_ = thread / 32;
    warps_ = size_ * (blockDim.x / 32);
    first_ = thread < threads ? thread : kNoLine;
  }

  __device__ std::uint32_t number() const {
    return number_;
  }
  /// Of the grid.
  __device__ std::uint32_t count() const {
    return count_;
  }
  /// Of a thread's line in the row; beyond every row if it has none.
  __device__ std::uint32_t index(int line) const {
    return first_ + line * threads_;
  }

  /// First in the kernel: what follows hides that the blocks of a team wait for each other.
  __device__ __forceinline__ void begin() {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x == 0) {
#pragma unroll
      for (std::uint32_t k = 0; k < 4; ++k) {
        asm volatile(
            "mbarrier.init.shared::cta.b64 [%0],1;" ::"r"(place(&shared_.came[k / 2][k % 2]))
            : "memory");
      }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
#endif
  }
  /// Before the first sum.
  __device__ __forceinline__ void join() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
  }

  /// From now on this warp's sums tell the whole team that there is no result.
  __device__ __forceinline__ void note_fault(bool fault) {
    has_fault_ = __any_sync(kWholeWarp, fault || has_fault_);
  }
  /// Whether any thread of the team had noted a fault before the last sum.
  __device__ __forceinline__ bool has_fault() const {
    return has_fault_;
  }

  __device__ __forceinline__ float sum(float value, std::uint32_t turn) {
    value = sum_of_warp(value);
    const std::uint32_t sent = has_fault_ ? kFaultBits : __float_as_uint(value);
    const std::uint32_t got = exchange(sent, 0, turn);
    if (__any_sync(kWholeWarp, got == kFaultBits)) has_fault_ = true;
    return sum_of_warp(__uint_as_float(got));
  }
  __device__ __forceinline__ float largest(std::uint32_t magnitude, std::uint32_t turn) {
    const std::uint32_t got = exchange(__reduce_max_sync(kWholeWarp, magnitude), 1, turn);
    return __uint_as_float(__reduce_max_sync(kWholeWarp, got));
  }

 private:
  static constexpr std::uint32_t kWholeWarp = 0xffffffff;
  static constexpr std::uint32_t kNoLine = 0x80000000;
  /// A NaN that no sum is: those have all bits set.
  static constexpr std::uint32_t kFaultBits = 0x7fbadbad;

  /// Every warp brings a word; lane k gets that of warp k of the team, or 0.
  __device__ __forceinline__ std::uint32_t exchange(std::uint32_t word, std::uint32_t kind,
                                                    std::uint32_t turn) {
    const std::uint32_t lane = threadIdx.x % 32;
    std::uint32_t* const words = shared_.words[kind][turn];
#if __CUDA_ARCH__ >= 900
    const std::uint32_t came = place(&shared_.came[kind][turn]);
    if (threadIdx.x == 0) {
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _,[%0],%1;" ::"r"(came),
                   "r"(warps_ * 4)
                   : "memory");
    }
    // Also lanes that send nothing name a block that is there, in case they are masked late.
    const std::uint32_t block = min(lane, size_ - 1);
    if (lane < size_) send(place(words + warp_), word, came, block);
    const std::uint32_t phase = 1U << (2 * kind + turn);
    await(came, (phases_ & phase) != 0 ? 1 : 0);
    phases_ ^= phase;
#else
    if (lane == 0) words[warp_] = word;
    __syncthreads();
#endif
    return lane < warps_ ? words[lane] : 0;
  }

#if __CUDA_ARCH__ >= 900
  __device__ static std::uint32_t place(const void* shared) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  }
  /// A word to the same place of another block, whose barrier counts it.
  __device__ __forceinline__ static void send(std::uint32_t to, std::uint32_t word,
                                              std::uint32_t came, std::uint32_t block) {
    asm volatile(
        "{.reg .u32 to,came; mapa.shared::cluster.u32 to,%0,%3; mapa.shared::cluster.u32 "
        "came,%2,%3; st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 "
        "[to],%1,[came];}" ::"r"(to),
        "r"(word), "r"(came), "r"(block)
        : "memory");
  }
  __device__ __forceinline__ static void await(std::uint32_t came, std::uint32_t parity) {
    std::uint32_t here = 0;
    do {
      asm volatile(
          "{.reg .pred here; mbarrier.try_wait.parity.shared::cta.b64 here,[%1],%2; selp.u32 "
          "%0,1,0,here;}"
          : "=r"(here)
          : "r"(came), "r"(parity)
          : "memory");
    } while (here == 0);
  }
#endif

  ClusterShared& shared_;
  const std::uint32_t threads_;
  std::uint32_t size_ = 1;
  std::uint32_t number_ = 0;
  std::uint32_t count_ = 1;
  std::uint32_t warps_;  ///< of the team; those without lines bring zeros
  std::uint32_t warp_;   ///< of the team
  std::uint32_t first_;  ///< line of this thread
  std::uint32_t phases_ = 0;
  bool has_fault_ = false;
};

}  // namespace cohort::cuda
