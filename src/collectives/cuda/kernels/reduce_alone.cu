#include <cuda_runtime.h>

#include <algorithm>

#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/numbers.cuh"
#include "collectives/cuda/kernels/reduce_alone.hpp"

namespace cohort::cuda {

namespace {

constexpr std::uint32_t kThreads = 256;
/// Enough to fill any device; what is more goes on with the same blocks.
constexpr std::uint64_t kBlocksMax = 4096;

struct CanonicalF32 {
  using Element = std::uint32_t;
  __device__ static std::uint32_t of(std::uint32_t element) { return canonical_f32(element); }
  __device__ static std::uint32_t of_word(std::uint32_t word) { return canonical_f32(word); }
};

template <class T>
struct CanonicalOf {
  using Element = std::uint16_t;
  __device__ static std::uint16_t of(std::uint16_t element) {
    return static_cast<std::uint16_t>(of_word(element));
  }
  __device__ static std::uint32_t of_word(std::uint32_t pair) {
    return canonical_pair(pair, T::kInfinity, T::kNanPair);
  }
};

/// The first `lines` of 16 bytes as such, the rest by elements. In place, or apart.
template <class Canonical>
__global__ void __launch_bounds__(kThreads)
    reduce_alone(typename Canonical::Element* to, const typename Canonical::Element* from,
                 std::uint64_t lines, std::uint64_t elements) {
  wait_for_kernel_before();
  let_next_kernel_start();
  constexpr std::uint64_t kOfLine = sizeof(uint4) / sizeof(typename Canonical::Element);
  const std::uint64_t first = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::uint64_t step = std::uint64_t{gridDim.x} * kThreads;
  for (std::uint64_t i = first; i < lines; i += step) {
    const uint4 line = reinterpret_cast<const uint4*>(from)[i];
    reinterpret_cast<uint4*>(to)[i] =
        make_uint4(Canonical::of_word(line.x), Canonical::of_word(line.y),
                   Canonical::of_word(line.z), Canonical::of_word(line.w));
  }
  for (std::uint64_t i = lines * kOfLine + first; i < elements; i += step) {
    to[i] = Canonical::of(from[i]);
  }
}

template <class Canonical>
Status put(Address to, Address from, std::uint64_t elements, StreamHandle stream) {
  using Element = typename Canonical::Element;
  const bool aligned = (to | from) % sizeof(uint4) == 0;
  const std::uint64_t lines = aligned ? elements * sizeof(Element) / sizeof(uint4) : 0;
  const std::uint64_t items = std::max(lines, elements - lines * sizeof(uint4) / sizeof(Element));
  cudaLaunchConfig_t config{};
  config.gridDim =
      dim3(static_cast<unsigned>(std::min((items + kThreads - 1) / kThreads, kBlocksMax)));
  config.blockDim = dim3(kThreads);
  config.stream = static_cast<cudaStream_t>(stream);
  COHORT_CUDA_TRY(cudaLaunchKernelEx, &config, reduce_alone<Canonical>,
                  reinterpret_cast<Element*>(to), reinterpret_cast<const Element*>(from), lines,
                  elements);
  return succeeded();
}

template <class Canonical>
Status load() {
  cudaFuncAttributes attributes{};
  COHORT_CUDA_TRY(cudaFuncGetAttributes, &attributes, reduce_alone<Canonical>);
  return succeeded();
}

}  // namespace

Status load_reduce_alone() {
  Status status = load<CanonicalF32>();
  if (is_ok(status)) status = load<CanonicalOf<Bf16>>();
  if (is_ok(status)) status = load<CanonicalOf<F16>>();
  return status;
}

Status launch_reduce_alone(Address to, Address from, std::uint64_t elements, DType dtype,
                           StreamHandle stream) {
  if (elements == 0) return succeeded();
  switch (dtype) {
    case DType::f32: return put<CanonicalF32>(to, from, elements, stream);
    case DType::bf16: return put<CanonicalOf<Bf16>>(to, from, elements, stream);
    case DType::f16: return put<CanonicalOf<F16>>(to, from, elements, stream);
    default: return failure(Status::Code::usage, "no NaN in type %d", static_cast<int>(dtype));
  }
}

}  // namespace cohort::cuda
