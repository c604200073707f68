#pragma once

// What kernels load and store where peers do too, as PTX has it. A line of 16 bytes is one access
// (.b128 is one access of the memory model, a vector of four words is not), so whoever sees one of
// its words sees all of them.

#include <cstdint>

#include "backend/cuda/channel_map.hpp"

namespace cohort::cuda {

/// W words that one thread holds: 4 are a line of scratch, 2 what a line with flags carries.
template <int W>
struct alignas(4 * W) Words {
  std::uint32_t word[W];
};
using Line = Words<4>;

__device__ __forceinline__ Line load_line(const char* from) {
  std::uint64_t low;
  std::uint64_t high;
  asm volatile("{.reg .b128 line; ld.relaxed.sys.global.b128 line,[%2]; mov.b128 {%0,%1},line;}"
               : "=l"(low), "=l"(high)
               : "l"(from)
               : "memory");
  return {static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(low >> 32),
          static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(high >> 32)};
}

__device__ __forceinline__ void store_line(char* to, const Line& line) {
  const std::uint64_t low = std::uint64_t{line.word[1]} << 32 | line.word[0];
  const std::uint64_t high = std::uint64_t{line.word[3]} << 32 | line.word[2];
  asm volatile(
      "{.reg .b128 line; mov.b128 line,{%1,%2}; st.relaxed.sys.global.b128 [%0],line;}" ::"l"(to),
      "l"(low), "l"(high)
      : "memory");
}

/// For lines of own scratch that nobody else touches before this kernel has ended.
__device__ __forceinline__ void store_own_line(char* to, const Line& line) {
  *reinterpret_cast<uint4*>(to) =
      make_uint4(line.word[0], line.word[1], line.word[2], line.word[3]);
}

__device__ __forceinline__ std::uint32_t load_word(const void* from) {
  std::uint32_t word;
  asm volatile("ld.relaxed.sys.global.u32 %0,[%1];" : "=r"(word) : "l"(from) : "memory");
  return word;
}

__device__ __forceinline__ void store_word(void* to, std::uint32_t word) {
  asm volatile("st.relaxed.sys.global.u32 [%0],%1;" ::"l"(to), "r"(word) : "memory");
}

__device__ __forceinline__ void store_word_release(void* to, std::uint32_t word) {
  asm volatile("st.release.sys.global.u32 [%0],%1;" ::"l"(to), "r"(word) : "memory");
}

__device__ __forceinline__ std::uint64_t load_long(const void* from) {
  std::uint64_t value;
  asm volatile("ld.relaxed.sys.global.u64 %0,[%1];" : "=l"(value) : "l"(from) : "memory");
  return value;
}

__device__ __forceinline__ void store_long(void* to, std::uint64_t value) {
  asm volatile("st.relaxed.sys.global.u64 [%0],%1;" ::"l"(to), "l"(value) : "memory");
}

/// Adds without waiting for the old value.
__device__ __forceinline__ void add_long(void* to, std::uint64_t value) {
  asm volatile("red.relaxed.gpu.global.add.u64 [%0],%1;" ::"l"(to), "l"(value) : "memory");
}

__device__ __forceinline__ void fence_system() {
  asm volatile("fence.acq_rel.sys;" ::: "memory");
}

__device__ __forceinline__ std::uint64_t nanoseconds() {
  std::uint64_t now;
  asm volatile("mov.u64 %0,%%globaltimer;" : "=l"(now));
  return now;
}

/// Until the kernel before this one in the stream has ended and its stores are visible. First in
/// every kernel: with programmatic launches a kernel starts before the one before it has ended.
__device__ __forceinline__ void wait_for_kernel_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// The kernel behind this one may be put on the device, where it waits for this one's end.
__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Where the build for tests waits for a while, so that interleavings occur which are rare.
enum class Site : std::uint32_t { header, data, chunk_flag, arrived, clear, leave };

__device__ __forceinline__ void delay_at([[maybe_unused]] Site site) {
#ifdef COHORT_CUDA_DELAYS
  const auto now = static_cast<std::uint32_t>(clock64());
  std::uint32_t hash = now ^ (blockIdx.x * blockDim.x + threadIdx.x) * 0x9e3779b9U ^
                       static_cast<std::uint32_t>(site) * 0x85ebca6bU;
  hash = (hash ^ hash >> 16) * 0x7feb352dU;
  hash = (hash ^ hash >> 15) * 0x846ca68bU;
  hash ^= hash >> 16;
  if ((hash & 255U) != 0) return;
  const std::uint32_t wait_ns = (hash & 0xfffff00U) == 0 ? 100000 : hash >> 8U & 2047U;
  const std::uint64_t began = nanoseconds();
  while (nanoseconds() - began < wait_ns) {
  }
#endif
}

}  // namespace cohort::cuda
