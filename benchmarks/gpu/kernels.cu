#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels.hpp"
#include "values.cuh"

namespace cohort::gpu_bench {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kBlocksMost = 1024;
constexpr std::uint64_t kGiveUpNs = 1'000'000'000;

template <typename T>
__global__ void fill_kernel(T* data, std::uint64_t begin, std::uint64_t count, std::uint32_t rank,
                            std::uint32_t seed) {
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride)
    data[i] = static_cast<T>(value(rank, begin + i, seed));
}

template <typename T>
__global__ void check_kernel(Expected expected, bool gathers, std::uint64_t begin, const T* result,
                             std::uint64_t count, std::uint64_t* wrong) {
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  std::uint64_t mine = 0;
  for (std::uint64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
    double sum = 0;
    double size = 0;
    for (std::uint32_t rank = 0; rank < expected.ranks; ++rank) {
      const std::uint64_t first = expected.shares.begins[rank];
      if (gathers && (i < first || i >= expected.shares.begins[rank + 1])) continue;
      const double term = rounded<T>(value(rank, gathers ? i - first : begin + i, expected.seed));
      sum += term;
      size += fabs(term);
    }
    const double slack = gathers ? 0 : size * rounding<T>() * (expected.ranks - 1);
    const double got = static_cast<double>(static_cast<float>(result[i]));
    mine += !(fabs(got - sum) <= slack);
  }
  count_wrong(mine, wrong);
}

__global__ void check_norm_kernel(Expected expected, const __nv_bfloat16* result,
                                  std::uint64_t* wrong) {
  __shared__ double squares;
  if (threadIdx.x == 0) squares = 0;
  __syncthreads();
  const auto added = [&](std::uint32_t column) {
    const std::uint64_t index = std::uint64_t{blockIdx.x} * kHidden + column;
    double sum = rounded<__nv_bfloat16>(value(kResidualRank, index, expected.seed));
    for (std::uint32_t rank = 0; rank < expected.ranks; ++rank)
      sum += rounded<__nv_bfloat16>(value(rank, index, expected.seed));
    return sum;
  };
  double own = 0;
  for (std::uint32_t i = threadIdx.x; i < kHidden; i += blockDim.x) own += added(i) * added(i);
  atomicAdd(&squares, own);
  __syncthreads();
  const double scale = 1 / sqrt(squares / kHidden + kEpsilon);
  std::uint64_t mine = 0;
  for (std::uint32_t i = threadIdx.x; i < kHidden; i += blockDim.x) {
    const double weight = rounded<__nv_bfloat16>(value(kWeightRank, i, expected.seed));
    const double got =
        static_cast<double>(__bfloat162float(result[std::uint64_t{blockIdx.x} * kHidden + i]));
    // Sum, residual and result may each be rounded: to a part of what was added, not of the sum.
    const double slack = fabs(weight) * scale * (expected.ranks + 2) * rounding<__nv_bfloat16>();
    mine += !(fabs(got - added(i) * scale * weight) <= slack);
  }
  count_wrong(mine, wrong);
}

__global__ void check_bytes_kernel(const std::uint8_t* data, std::uint64_t bytes, std::uint8_t byte,
                                   std::uint64_t* wrong) {
  std::uint64_t mine = 0;
  for (std::uint64_t i = threadIdx.x; i < bytes; i += blockDim.x) mine += data[i] != byte;
  count_wrong(mine, wrong);
}

__device__ float sum_of_block(float mine) {
  __shared__ float partial[32];
  for (std::uint32_t step = 16; step > 0; step /= 2)
    mine += __shfl_xor_sync(0xffffffffU, mine, step);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = mine;
  __syncthreads();
  float sum = 0;
  for (std::uint32_t warp = 0; warp < blockDim.x / 32; ++warp) sum += partial[warp];
  return sum;
}

/// One line of 16 bytes a thread: 7168 elements are 896 lines.
__global__ void __launch_bounds__(kHidden / 8) add_norm_kernel(Norm norm) {
  const std::uint64_t line = std::uint64_t{blockIdx.x} * (kHidden / 8) + threadIdx.x;
  uint4 sum = static_cast<const uint4*>(norm.sum)[line];
  uint4 residual = static_cast<const uint4*>(norm.residual_in)[line];
  uint4 weight = static_cast<const uint4*>(norm.weight)[threadIdx.x];
  auto* sums = reinterpret_cast<__nv_bfloat16*>(&sum);
  auto* residuals = reinterpret_cast<__nv_bfloat16*>(&residual);
  const auto* weights = reinterpret_cast<const __nv_bfloat16*>(&weight);
  float added[8];
  float squares = 0;
  for (int i = 0; i < 8; ++i) {
    added[i] = __bfloat162float(sums[i]) + __bfloat162float(residuals[i]);
    residuals[i] = __float2bfloat16(added[i]);
    squares += added[i] * added[i];
  }
  static_cast<uint4*>(norm.residual_out)[line] = residual;
  const float scale = rsqrtf(sum_of_block(squares) / kHidden + kEpsilon);
  for (int i = 0; i < 8; ++i)
    sums[i] = __float2bfloat16(added[i] * scale * __bfloat162float(weights[i]));
  static_cast<uint4*>(norm.normed)[line] = sum;
}

__device__ void await_node_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ void let_next_node_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__global__ void __launch_bounds__(1024)
    push_kernel(uint4* to, const uint4* from, std::uint64_t lines) {
  await_node_before();
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  const std::uint64_t first = blockIdx.x * blockDim.x + threadIdx.x;
  for (std::uint64_t base = first; base < lines; base += 4 * stride) {
    uint4 line[4];
#pragma unroll
    for (int u = 0; u < 4; ++u)
      if (base + u * stride < lines) line[u] = from[base + u * stride];
#pragma unroll
    for (int u = 0; u < 4; ++u)
      if (base + u * stride < lines) to[base + u * stride] = line[u];
  }
  let_next_node_start();
}

__global__ void empty_kernel() {
  await_node_before();
  let_next_node_start();
}

__device__ std::uint64_t nanoseconds() {
  std::uint64_t now = 0;
  asm volatile("mov.u64 %0,%%globaltimer;" : "=l"(now));
  return now;
}

__global__ void exchange_kernel(std::uint32_t* mine, std::uint32_t* peers, std::uint32_t* words) {
  await_node_before();
  const std::uint32_t sequence = words[0] + 1;
  // Two places in turn, and later flags count too: whoever sends them may be ahead, by one call of
  // two ranks and by more where flags go round.
  const std::uint32_t place = sequence % 2 * 32;
  asm volatile("st.relaxed.sys.global.u32 [%0],%1;" ::"l"(peers + place), "r"(sequence) : "memory");
  const std::uint64_t begin = nanoseconds();
  std::uint32_t seen = 0;
  while (seen < sequence) {
    asm volatile("ld.relaxed.sys.global.u32 %0,[%1];" : "=r"(seen) : "l"(mine + place) : "memory");
    if (seen < sequence && nanoseconds() - begin > kGiveUpNs) {
      words[1] = 1;
      break;
    }
  }
  words[0] = sequence;
  let_next_node_start();
}

template <typename... Parameters, typename... Arguments>
void launch_overlapping(void (*kernel)(Parameters...), std::uint32_t blocks, std::uint32_t threads,
                        cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t launch{};
  launch.gridDim = blocks;
  launch.blockDim = threads;
  launch.stream = stream;
  launch.attrs = &attribute;
  launch.numAttrs = 1;
  require(cudaLaunchKernelEx(&launch, kernel, Parameters(arguments)...), "launch");
}

std::uint32_t blocks_for(std::uint64_t count) {
  const std::uint64_t blocks = (count + kThreads - 1) / kThreads;
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(blocks, 1, kBlocksMost));
}

}  // namespace

void require(cudaError_t result, const char* what) {
  if (result == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(result));
}

void fill(DType dtype, void* data, std::uint64_t begin, std::uint64_t count, std::uint32_t rank,
          std::uint32_t seed, cudaStream_t stream) {
  const std::uint32_t blocks = blocks_for(count);
  const auto run = [&](auto* typed) {
    fill_kernel<<<blocks, kThreads, 0, stream>>>(typed, begin, count, rank, seed);
  };
  switch (dtype) {
    case DType::f32: run(static_cast<float*>(data)); break;
    case DType::bf16: run(static_cast<__nv_bfloat16*>(data)); break;
    case DType::f16: run(static_cast<__half*>(data)); break;
    default: throw std::runtime_error("only floats are measured");
  }
  require(cudaGetLastError(), "fill");
}

void check(const Expected& expected, const void* result, std::uint64_t* wrong,
           cudaStream_t stream) {
  const std::uint64_t count =
      is_scatter(expected.operation) ? expected.shares.of(expected.rank) : expected.shares.total;
  if (expected.operation == Operation::all_reduce_norm) {
    check_norm_kernel<<<static_cast<unsigned>(count / kHidden), kThreads, 0, stream>>>(
        expected, static_cast<const __nv_bfloat16*>(result), wrong);
  } else {
    const bool gathers = is_gather(expected.operation);
    const std::uint64_t begin =
        is_scatter(expected.operation) ? expected.shares.begins[expected.rank] : 0;
    const auto run = [&](const auto* typed) {
      check_kernel<<<blocks_for(count), kThreads, 0, stream>>>(expected, gathers, begin, typed,
                                                               count, wrong);
    };
    switch (expected.dtype) {
      case DType::f32: run(static_cast<const float*>(result)); break;
      case DType::bf16: run(static_cast<const __nv_bfloat16*>(result)); break;
      case DType::f16: run(static_cast<const __half*>(result)); break;
      default: throw std::runtime_error("only floats are measured");
    }
  }
  require(cudaGetLastError(), "check");
}

void check_bytes(const void* data, std::uint64_t bytes, std::uint8_t byte, std::uint64_t* wrong,
                 cudaStream_t stream) {
  check_bytes_kernel<<<1, kThreads, 0, stream>>>(static_cast<const std::uint8_t*>(data), bytes,
                                                 byte, wrong);
  require(cudaGetLastError(), "check");
}

void add_norm(const Norm& norm, cudaStream_t stream) {
  add_norm_kernel<<<norm.rows, kHidden / 8, 0, stream>>>(norm);
  require(cudaGetLastError(), "add_norm");
}

void push(void* to, const void* from, std::uint64_t bytes, cudaStream_t stream) {
  const std::uint64_t lines = std::max<std::uint64_t>(bytes / 16, 1);
  const std::uint64_t blocks = (lines + 255) / 256;
  launch_overlapping(push_kernel, static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks, 264)),
                     lines <= 264 * 256 ? 256 : 512, stream, static_cast<uint4*>(to),
                     static_cast<const uint4*>(from), lines);
}

void empty(cudaStream_t stream) {
  launch_overlapping(empty_kernel, 1, 32, stream);
}

void exchange_flags(std::uint32_t* mine, std::uint32_t* peers, std::uint32_t* words,
                    cudaStream_t stream) {
  launch_overlapping(exchange_kernel, 1, 1, stream, mine, peers, words);
}

}  // namespace cohort::gpu_bench
