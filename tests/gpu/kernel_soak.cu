// Calls back to back for long, of mixed operations, sizes and types, in graphs: fresh data before
// every batch, made, checked and overwritten on the devices. Meant for the plugin that waits at
// random where a race would need it (COHORT_CUDA_PLUGIN=.../libcohort_cuda_delays.so).
//
// kernel_soak [ranks] [seconds] [calls]: ends with an error on the first batch that is wrong.

#include <cuda_runtime.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gpu/check_cuda.hpp"
#include "gpu/device_group.hpp"

namespace cohort::test {
namespace {

using cuda::Algorithm;
using cuda::Protocol;

constexpr std::uint32_t kCallsOfGraph = 48;
constexpr std::uint32_t kWordsMax = 60000;  // of an operand or part
constexpr std::uint32_t kUnwritten = 0xDEADBEEF;

struct SoakCall {
  Op op;
  DType dtype;
  Algorithm algorithm;
  Protocol protocol;
  std::uint32_t words;  ///< of the operand or of one part
  std::uint32_t threads;
  std::uint32_t index;  ///< makes its data its own
};

__host__ __device__ inline std::uint32_t mixed(std::uint32_t seed, std::uint32_t rank,
                                               std::uint32_t index, std::uint32_t word) {
  std::uint32_t hash = seed * 0x9e3779b9U ^ rank * 0x85ebca6bU ^ index * 0xc2b2ae35U ^ word;
  hash = (hash ^ hash >> 16) * 0x7feb352dU;
  hash = (hash ^ hash >> 15) * 0x846ca68bU;
  return hash ^ hash >> 16;
}

/// Word of an input: small whole numbers in floats, any bits and many sentinels elsewhere.
__device__ std::uint32_t input_word(const SoakCall& call, std::uint32_t seed, std::uint32_t rank,
                                    std::uint32_t word) {
  const std::uint32_t hash = mixed(seed, rank, call.index, word);
  if (call.dtype == DType::f32) return __float_as_uint(static_cast<float>(hash % 4096));
  if (call.dtype == DType::bf16) {
    const std::uint32_t low = __float_as_uint(static_cast<float>(hash % 16)) >> 16;
    return low | (__float_as_uint(static_cast<float>(hash / 16 % 16)) & 0xffff0000U);
  }
  return hash % 61 == 0 ? cuda::kSentinel : hash;
}

__device__ std::uint32_t sum_of(const SoakCall& call, std::uint32_t a, std::uint32_t b) {
  if (call.dtype == DType::f32) {
    return __float_as_uint(__uint_as_float(a) + __uint_as_float(b));
  }
  if (call.dtype == DType::bf16) {
    const float low = __uint_as_float(a << 16) + __uint_as_float(b << 16);
    const float high = __uint_as_float(a & 0xffff0000U) + __uint_as_float(b & 0xffff0000U);
    return __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000U);
  }
  return a + b;
}

__device__ bool reduces(Op op) {
  return op == Op::all_reduce || op == Op::reduce_scatter;
}

__device__ std::uint32_t input_words(const SoakCall& call, std::uint32_t ranks) {
  const bool has_parts = call.op == Op::reduce_scatter || call.op == Op::all_to_all;
  return has_parts ? call.words * ranks : call.words;
}

__global__ void make_inputs(const SoakCall* calls, std::uint32_t* const* inputs,
                            std::uint32_t* seed, std::uint32_t rank, std::uint32_t ranks) {
  const SoakCall call = calls[blockIdx.y];
  const std::uint32_t now = *seed;
  const std::uint32_t words = input_words(call, ranks);
  for (std::uint32_t k = blockIdx.x * blockDim.x + threadIdx.x; k < words;
       k += gridDim.x * blockDim.x) {
    inputs[blockIdx.y][k] = input_word(call, now, rank, k);
  }
}

__device__ std::uint32_t expected_word(const SoakCall& call, std::uint32_t seed, std::uint32_t rank,
                                       std::uint32_t ranks, std::uint32_t word) {
  if (reduces(call.op)) {
    const std::uint32_t begin = call.op == Op::reduce_scatter ? call.words * rank : 0;
    std::uint32_t sum = input_word(call, seed, 0, begin + word);
    for (std::uint32_t k = 1; k < ranks; ++k) {
      sum = sum_of(call, sum, input_word(call, seed, k, begin + word));
    }
    return sum;
  }
  if (call.op == Op::broadcast) return input_word(call, seed, 0, word);
  const std::uint32_t begin = call.op == Op::all_to_all ? call.words * rank : 0;
  return input_word(call, seed, word / call.words, begin + word % call.words);
}

__global__ void check_outputs(const SoakCall* calls, std::uint32_t* const* outputs,
                              const std::uint32_t* seed, std::uint32_t rank, std::uint32_t ranks,
                              unsigned long long* wrong) {
  const SoakCall call = calls[blockIdx.y];
  const bool gathers = call.op == Op::all_gather || call.op == Op::all_to_all;
  const std::uint32_t words = gathers ? call.words * ranks : call.words;
  unsigned long long bad = 0;
  for (std::uint32_t k = blockIdx.x * blockDim.x + threadIdx.x; k < words;
       k += gridDim.x * blockDim.x) {
    bad += outputs[blockIdx.y][k] != expected_word(call, *seed, rank, ranks, k) ? 1 : 0;
    outputs[blockIdx.y][k] = kUnwritten;
  }
  if (bad != 0) atomicAdd(&wrong[blockIdx.y], bad);
}

__global__ void next_seed(std::uint32_t* seed) {
  ++*seed;
}

std::vector<SoakCall> random_calls(std::uint32_t ranks) {
  std::mt19937 random(ranks);
  std::vector<SoakCall> calls;
  for (std::uint32_t index = 0; index < kCallsOfGraph; ++index) {
    SoakCall call{};
    const Op ops[] = {Op::all_reduce,     Op::all_reduce, Op::all_gather,
                      Op::reduce_scatter, Op::all_to_all, Op::broadcast};
    const DType types[] = {DType::f32, DType::bf16, DType::i32};
    call.op = ops[random() % 6];
    call.dtype = types[random() % 3];
    const std::uint32_t largest = kWordsMax / ranks;
    call.words = 1 + random() % (index % 8 == 0 ? largest : index % 3 == 0 ? 4000 : 500);
    call.protocol = call.words <= 1000 && random() % 2 == 0 ? Protocol::flags : Protocol::sentinel;
    if (call.op == Op::all_reduce && call.protocol == Protocol::sentinel && random() % 2 == 0) {
      call.algorithm = Algorithm::two_shot;
    }
    call.threads = 32U << random() % 4;
    call.index = index;
    calls.push_back(call);
  }
  return calls;
}

class Soak {
 public:
  Soak(const cuda::Api& api, std::uint32_t ranks)
      : api_(api), group_(api, ranks, 8 << 20), calls_(random_calls(ranks)), ranks_(ranks) {
    for (std::uint32_t rank = 0; rank < ranks; ++rank) prepare(ranks_[rank], rank);
  }

  /// Replays; the number of calls made.
  std::uint64_t run(double seconds, std::uint64_t calls_max) {
    const auto began = std::chrono::steady_clock::now();
    std::uint64_t calls = 0;
    while (calls < calls_max &&
           std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() <
               seconds) {
      for (std::uint32_t k = 0; k < kReplaysAhead; ++k) replay();
      calls += std::uint64_t{kReplaysAhead} * kCallsOfGraph;
      group_.wait();
      look();
    }
    const std::string left = group_.what_is_left();
    if (!left.empty()) throw std::runtime_error(left);
    return calls;
  }

 private:
  static constexpr std::uint32_t kReplaysAhead = 20;

  struct Rank {
    std::uint32_t* seed = nullptr;
    unsigned long long* wrong = nullptr;
    cudaGraphExec_t graph = nullptr;
  };

  template <class T>
  T* allocate(std::size_t count) {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, count * sizeof(T)), "cudaMalloc");
    check_cuda(cudaMemset(memory, 0, count * sizeof(T)), "cudaMemset");
    return static_cast<T*>(memory);
  }

  template <class T>
  T* copied(const std::vector<T>& values) {
    T* memory = allocate<T>(values.size());
    check_cuda(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
               "cudaMemcpy");
    return memory;
  }

  void prepare(Rank& rank, std::uint32_t member) {
    const std::uint32_t ranks = group_.members();
    check_cuda(cudaSetDevice(group_.device_of(member)), "cudaSetDevice");
    rank.seed = allocate<std::uint32_t>(1);
    rank.wrong = allocate<unsigned long long>(kCallsOfGraph);
    std::vector<std::uint32_t*> inputs;
    std::vector<std::uint32_t*> outputs;
    for (const SoakCall& call : calls_) {
      inputs.push_back(allocate<std::uint32_t>(std::size_t{call.words} * ranks + 4));
      outputs.push_back(allocate<std::uint32_t>(std::size_t{call.words} * ranks + 4));
    }
    SoakCall* calls = copied(calls_);
    std::uint32_t** inputs_there = copied(inputs);
    std::uint32_t** outputs_there = copied(outputs);
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    const auto stream = static_cast<cudaStream_t>(group_.stream(member));
    const dim3 grid(16, kCallsOfGraph);
    cudaGraph_t graph = nullptr;
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    make_inputs<<<grid, 128, 0, stream>>>(calls, inputs_there, rank.seed, member, ranks);
    for (std::uint32_t k = 0; k < kCallsOfGraph; ++k) {
      const cuda::KernelCall call = kernel_call(member, calls_[k], inputs[k], outputs[k]);
      check(api_.launch(group_.device(member), &call), "launch");
    }
    check_outputs<<<grid, 128, 0, stream>>>(calls, outputs_there, rank.seed, member, ranks,
                                            rank.wrong);
    next_seed<<<1, 1, 0, stream>>>(rank.seed);
    check_cuda(cudaStreamEndCapture(stream, &graph), "capture");
    check_cuda(cudaGraphInstantiate(&rank.graph, graph, 0), "instantiate");
  }

  cuda::KernelCall kernel_call(std::uint32_t member, const SoakCall& soak, std::uint32_t* input,
                               std::uint32_t* output) const {
    cuda::KernelCall call = group_.call(member);
    call.op = soak.op;
    call.dtype = soak.dtype;
    call.algorithm = soak.algorithm;
    call.protocol = soak.protocol;
    call.bytes = std::uint64_t{soak.words} * 4;
    const std::uint32_t line_bytes = soak.protocol == Protocol::flags ? 8 : 16;
    std::uint32_t lines = (soak.words * 4 + line_bytes - 1) / line_bytes;
    if (soak.algorithm == Algorithm::two_shot) {
      lines = (lines + group_.members() - 1) / group_.members();
    }
    call.threads = soak.threads;
    call.blocks = (lines + soak.threads - 1) / soak.threads;
    call.lines_per_thread = 1;
    call.input = reinterpret_cast<cuda::Address>(input);
    call.output = reinterpret_cast<cuda::Address>(output);
    call.hash ^= soak.index;
    return call;
  }

  void replay() {
    for (std::uint32_t member = 0; member < group_.members(); ++member) {
      check_cuda(cudaSetDevice(group_.device_of(member)), "cudaSetDevice");
      check_cuda(
          cudaGraphLaunch(ranks_[member].graph, static_cast<cudaStream_t>(group_.stream(member))),
          "cudaGraphLaunch");
    }
  }

  void look() const {
    for (std::uint32_t member = 0; member < group_.members(); ++member) {
      const std::string fault = describe_fault(group_.fault(member));
      if (!fault.empty())
        throw std::runtime_error("member " + std::to_string(member) + ": " + fault);
      std::vector<unsigned long long> wrong(kCallsOfGraph);
      check_cuda(cudaMemcpy(wrong.data(), ranks_[member].wrong, wrong.size() * sizeof(wrong[0]),
                            cudaMemcpyDeviceToHost),
                 "cudaMemcpy");
      for (std::uint32_t k = 0; k < kCallsOfGraph; ++k) {
        if (wrong[k] == 0) continue;
        throw std::runtime_error(std::to_string(wrong[k]) + " wrong words of member " +
                                 std::to_string(member) + " in call " + std::to_string(k) + ", " +
                                 std::string(to_string(calls_[k].op)) + " of " +
                                 std::to_string(calls_[k].words) + " words");
      }
    }
  }

  const cuda::Api& api_;
  DeviceGroup group_;
  std::vector<SoakCall> calls_;
  std::vector<Rank> ranks_;
};

}  // namespace
}  // namespace cohort::test

int main(int argc, char** argv) {
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
  const auto ranks = static_cast<std::uint32_t>(argc > 1 ? std::atoi(argv[1]) : 2);
  const double seconds = argc > 2 ? std::atof(argv[2]) : 10;
  const std::uint64_t calls = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1000000;
  try {
    std::string why_not;
    const cohort::cuda::Api* api = cohort::test::find_plugin(&why_not);
    if (api == nullptr) throw std::runtime_error(why_not);
    cohort::test::Soak soak(*api, ranks);
    const auto began = std::chrono::steady_clock::now();
    const std::uint64_t made = soak.run(seconds, calls);
    std::printf("%u ranks: %llu calls in %.1f s, all right\n", ranks,
                static_cast<unsigned long long>(made),
                std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_soak: %s\n", error.what());
    return 1;
  }
}
