#include <cuda_runtime.h>

#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/stamps.hpp"

namespace cohort::cuda {

namespace {

constexpr std::uint32_t kStampThreads = 256;
/// Enough to fill any device; each thread goes on until nothing is left.
constexpr std::uint64_t kStampBlocksMax = 4096;
constexpr std::uint64_t kWordBytes = sizeof(std::uint64_t);

struct StampArgs {
  std::uint64_t* words;
  std::uint64_t count;       ///< of words that are full
  std::uint32_t tail_bytes;  ///< behind them
  std::uint64_t stamp;
};

StampArgs args_of(Address memory, std::uint64_t bytes, std::uint64_t stamp) {
  return {reinterpret_cast<std::uint64_t*>(memory), bytes / kWordBytes,
          static_cast<std::uint32_t>(bytes % kWordBytes), stamp};
}

__device__ std::uint64_t first_word() {
  return std::uint64_t{blockIdx.x} * kStampThreads + threadIdx.x;
}

__device__ std::uint64_t stride() {
  return std::uint64_t{gridDim.x} * kStampThreads;
}

/// Of the word that is not full, the byte for this thread.
__device__ std::uint8_t tail_byte(const StampArgs& args) {
  return static_cast<std::uint8_t>((args.stamp + args.count) >> 8U * threadIdx.x);
}

__device__ std::uint8_t* tail(const StampArgs& args) {
  return reinterpret_cast<std::uint8_t*>(args.words + args.count) + threadIdx.x;
}

__global__ void __launch_bounds__(kStampThreads) write_stamps(const StampArgs args) {
  for (std::uint64_t i = first_word(); i < args.count; i += stride()) {
    args.words[i] = args.stamp + i;
  }
  if (blockIdx.x == 0 && threadIdx.x < args.tail_bytes) *tail(args) = tail_byte(args);
}

__global__ void __launch_bounds__(kStampThreads)
    compare_stamps(const StampArgs args, std::uint32_t* differs) {
  std::uint64_t difference = 0;
#pragma unroll 4
  for (std::uint64_t i = first_word(); i < args.count; i += stride()) {
    difference |= args.words[i] ^ (args.stamp + i);
  }
  if (blockIdx.x == 0 && threadIdx.x < args.tail_bytes) {
    difference |= static_cast<std::uint64_t>(*tail(args) ^ tail_byte(args));
  }
  if (difference != 0) *differs = 1;
}

std::uint32_t blocks_for(const StampArgs& args) {
  const std::uint64_t wanted = args.count / kStampThreads + 1;
  return static_cast<std::uint32_t>(wanted < kStampBlocksMax ? wanted : kStampBlocksMax);
}

Status check(Address memory, std::uint64_t bytes) {
  if (memory % kWordBytes == 0) return succeeded();
  return failure(Status::Code::usage, "stamps in %llu bytes that do not begin at a multiple of 8",
                 static_cast<unsigned long long>(bytes));
}

template <typename Kernel>
Status load(Kernel kernel) {
  cudaFuncAttributes attributes{};
  COHORT_CUDA_TRY(cudaFuncGetAttributes, &attributes, kernel);
  return succeeded();
}

}  // namespace

Status load_stamp_kernels() {
  if (const Status status = load(write_stamps); !is_ok(status)) return status;
  return load(compare_stamps);
}

Status launch_stamps(Address memory, std::uint64_t bytes, std::uint64_t stamp,
                     StreamHandle stream) {
  if (const Status status = check(memory, bytes); !is_ok(status)) return status;
  const StampArgs args = args_of(memory, bytes, stamp);
  write_stamps<<<blocks_for(args), kStampThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  COHORT_CUDA_TRY(cudaGetLastError);
  return succeeded();
}

Status launch_comparison(Address memory, std::uint64_t bytes, std::uint64_t stamp, Address differs,
                         StreamHandle stream) {
  if (const Status status = check(memory, bytes); !is_ok(status)) return status;
  const StampArgs args = args_of(memory, bytes, stamp);
  compare_stamps<<<blocks_for(args), kStampThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      args, reinterpret_cast<std::uint32_t*>(differs));
  COHORT_CUDA_TRY(cudaGetLastError);
  return succeeded();
}

}  // namespace cohort::cuda
