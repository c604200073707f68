// Whether a reader can see a part of a 16-byte store that comes from another device. One side
// stores lines whose words are all equal and change with every store, the other side loads them
// for as long as that lasts and counts lines with unequal words. The control stores each line in
// two halves: it shows that torn lines would be seen. Ends with 1 if a line was torn.
//
// tearing [stores of each thread]

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "collectives/cuda/kernels/words.cuh"

namespace cohort::cuda {
namespace {

constexpr int kBlocks = 128;
constexpr int kThreads = 256;
constexpr std::size_t kSpanBytes = std::size_t{kBlocks} * kThreads * 128;
constexpr std::uint64_t kDeadlineNs = 5'000'000'000;

/// Which line a thread has: neighbours side by side, shuffled within a pair of warps, or one in
/// each 128 bytes.
enum class Pattern : int { side_by_side, shuffled, far_apart };

struct Seen {
  unsigned long long loads;
  unsigned long long values;
  unsigned long long torn;
};

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
  }
}

__device__ char* place_of(char* memory, Pattern pattern) {
  const std::size_t thread = blockIdx.x * std::size_t{kThreads} + threadIdx.x;
  if (pattern == Pattern::far_apart) return memory + thread * 128;
  if (pattern == Pattern::side_by_side) return memory + thread * 16;
  return memory + ((thread & ~std::size_t{63}) | (thread * 37 & 63)) * 16;
}

__device__ void store_half(char* to, std::uint32_t word) {
  asm volatile("st.relaxed.sys.global.v2.u32 [%0],{%1,%1};" ::"l"(to), "r"(word) : "memory");
}

__global__ void store_lines(char* memory, Pattern pattern, bool whole, std::uint32_t first,
                            std::uint32_t count) {
  char* to = place_of(memory, pattern);
  const std::uint64_t began = nanoseconds();
  for (std::uint32_t k = 0; k < count; ++k) {
    const std::uint32_t word = first + k;
    if (whole) {
      store_line(to, {word, word, word, word});
    } else {
      store_half(to, word);
      store_half(to + 8, word);
    }
    if (k % 1024 == 0 && nanoseconds() - began > kDeadlineNs) return;
  }
}

__global__ void watch_lines(char* memory, Pattern pattern, std::uint32_t last, Seen* seen) {
  const char* from = place_of(memory, pattern);
  const std::uint64_t began = nanoseconds();
  Seen own{};
  std::uint32_t before = 0;
  for (std::uint32_t k = 0;; ++k) {
    const Line line = load_line(from);
    ++own.loads;
    own.values += line.word[0] != before ? 1 : 0;
    before = line.word[0];
    const bool torn = line.word[0] != line.word[1] || line.word[0] != line.word[2] ||
                      line.word[0] != line.word[3];
    own.torn += torn ? 1 : 0;
    if (!torn && line.word[0] == last) break;
    if (k % 1024 == 0 && nanoseconds() - began > kDeadlineNs) break;
  }
  atomicAdd(&seen->loads, own.loads);
  atomicAdd(&seen->values, own.values);
  atomicAdd(&seen->torn, own.torn);
}

/// Both devices at once: each stores into the memory of one and watches that of one.
class Tearing {
 public:
  Tearing() {
    for (int device = 0; device < 2; ++device) {
      check(cudaSetDevice(device), "cudaSetDevice");
      check(cudaDeviceEnablePeerAccess(1 - device, 0), "cudaDeviceEnablePeerAccess");
      check(cudaMalloc(&memory_[device], kSpanBytes), "cudaMalloc");
      check(cudaMalloc(&seen_[device], sizeof(Seen)), "cudaMalloc");
      check(cudaStreamCreateWithFlags(&stores_[device], cudaStreamNonBlocking), "stream");
      check(cudaStreamCreateWithFlags(&loads_[device], cudaStreamNonBlocking), "stream");
      cudaFuncAttributes attributes{};
      check(cudaFuncGetAttributes(&attributes, store_lines), "cudaFuncGetAttributes");
      check(cudaFuncGetAttributes(&attributes, watch_lines), "cudaFuncGetAttributes");
    }
  }

  /// Lines seen torn. `push`: stores go to the other device, else loads come from there.
  unsigned long long run(bool push, Pattern pattern, bool whole, std::uint32_t count) {
    for (int device = 0; device < 2; ++device) clear(device);
    for (int device = 0; device < 2; ++device) {
      check(cudaSetDevice(device), "cudaSetDevice");
      watch_lines<<<kBlocks, kThreads, 0, loads_[device]>>>(
          memory_[push ? device : 1 - device], pattern, first_ + count - 1, seen_[device]);
      store_lines<<<kBlocks, kThreads, 0, stores_[device]>>>(memory_[push ? 1 - device : device],
                                                             pattern, whole, first_, count);
      check(cudaGetLastError(), "launch");
    }
    first_ += count;
    Seen total{};
    for (int device = 0; device < 2; ++device) {
      check(cudaSetDevice(device), "cudaSetDevice");
      check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
      Seen seen{};
      check(cudaMemcpy(&seen, seen_[device], sizeof seen, cudaMemcpyDeviceToHost), "cudaMemcpy");
      total.loads += seen.loads;
      total.values += seen.values;
      total.torn += seen.torn;
    }
    std::printf("%s, pattern %d, %s: %.2e loads saw %.2e values, %llu torn\n",
                push ? "push" : "pull", static_cast<int>(pattern), whole ? "whole lines" : "halves",
                static_cast<double>(total.loads), static_cast<double>(total.values), total.torn);
    return total.torn;
  }

 private:
  void clear(int device) {
    check(cudaSetDevice(device), "cudaSetDevice");
    check(cudaMemset(memory_[device], 0, kSpanBytes), "cudaMemset");
    check(cudaMemset(seen_[device], 0, sizeof(Seen)), "cudaMemset");
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

  char* memory_[2] = {};
  Seen* seen_[2] = {};
  cudaStream_t stores_[2] = {};
  cudaStream_t loads_[2] = {};
  std::uint32_t first_ = 1;
};

int run(std::uint32_t count) {
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  if (devices < 2) throw std::runtime_error("needs two devices");
  Tearing tearing;
  unsigned long long torn = 0;
  unsigned long long control = 0;
  for (const bool push : {true, false}) {
    for (const Pattern pattern : {Pattern::side_by_side, Pattern::shuffled, Pattern::far_apart}) {
      torn += tearing.run(push, pattern, true, count);
      control += tearing.run(push, pattern, false, count / 4);
    }
  }
  if (control == 0) throw std::runtime_error("not even halves were seen apart: proves nothing");
  return torn == 0 ? 0 : 1;
}

}  // namespace
}  // namespace cohort::cuda

int main(int argc, char** argv) {
  const auto count = static_cast<std::uint32_t>(argc > 1 ? std::atol(argv[1]) : 20000);
  try {
    return cohort::cuda::run(count);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tearing: %s\n", error.what());
    return 2;
  }
}
