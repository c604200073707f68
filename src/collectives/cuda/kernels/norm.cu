// The norm without a collective before it.

#include <algorithm>

#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/fused.hpp"
#include "collectives/cuda/kernels/launch.hpp"
#include "collectives/cuda/kernels/norm.cuh"

namespace cohort::cuda {

namespace {

/// Enough to fill any device; blocks with more rows than one take them in turn.
constexpr std::uint64_t kBlocksOfNormMax = 1024;

template <class T, int kLines>
__global__ void __launch_bounds__(kNormThreadsMax)
    norm_rows(NormArgs args, const Line* input, std::uint64_t rows) {
  __shared__ NormShared shared;
  wait_for_kernel_before();
  let_next_kernel_start();
  BlockTeam team(shared);
  NormRow<BlockTeam, kLines> weight;
  weight.load(team, args.weight, args.lines);
  std::uint32_t parity = 0;
  for (std::uint64_t row = blockIdx.x; row < rows; row += gridDim.x, parity ^= 1) {
    NormRow<BlockTeam, kLines> x;
    NormRow<BlockTeam, kLines> residual;
    x.load(team, input + row * args.lines, args.lines);
    residual.load(team, args.residual + row * args.lines, args.lines);
    norm_row<T>(args, row, parity, x, residual, weight, team);
  }
}

template <class T>
const void* find_norm(std::uint32_t lines_per_thread) {
  switch (lines_per_thread) {
    case 1: return reinterpret_cast<const void*>(&norm_rows<T, 1>);
    case 2: return reinterpret_cast<const void*>(&norm_rows<T, 2>);
    default: return reinterpret_cast<const void*>(&norm_rows<T, 4>);
  }
}

Status usage(const char* what) {
  return failure(Status::Code::usage, "norm: %s", what);
}

}  // namespace

Status check_norm(const Norm& norm) {
  if (norm.dtype != DType::bf16 && norm.dtype != DType::f16) {
    return usage("only bf16 and f16 are normed");
  }
  if (norm.hidden == 0 || norm.hidden % kNormLineElements != 0 || norm.hidden > kHiddenMax) {
    return failure(Status::Code::usage, "norm: rows of %u elements; a multiple of 8 up to %u goes",
                   norm.hidden, kHiddenMax);
  }
  const bool is_plain = norm.output == NormOutput::plain;
  const Address lines = norm.residual | norm.weight | norm.residual_out;
  if (lines % kLineBytes != 0 || norm.normed % (is_plain ? kLineBytes : kLineBytes / 2) != 0) {
    return usage("an operand is not aligned to 16 bytes");
  }
  if (!is_plain && (norm.scales == 0 || norm.scales % sizeof(float) != 0)) {
    return usage("f8e4m3 needs scales");
  }
  return succeeded();
}

Status launch_norm(const Norm& norm, Address input, std::uint64_t rows, StreamHandle stream) {
  if (Status status = check_norm(norm); !is_ok(status)) return status;
  if (input % kLineBytes != 0) return usage("the input is not aligned to 16 bytes");
  if (rows == 0) return succeeded();
  const NormShape shape = norm_shape(norm.hidden);
  KernelCall grid{};
  grid.blocks = static_cast<std::uint32_t>(std::min(rows, kBlocksOfNormMax));
  grid.threads = shape.threads;
  grid.stream = stream;
  NormArgs args = make_norm_args(norm);
  const Line* first = reinterpret_cast<const Line*>(input);
  void* parameters[] = {&args, &first, &rows};
  const void* kernel = norm.dtype == DType::bf16 ? find_norm<Bf16>(shape.lines_per_thread)
                                                 : find_norm<F16>(shape.lines_per_thread);
  return launch_kernel(kernel, grid, parameters);
}

Status load_fused_kernels() {
  for (const std::uint32_t lines : {1U, 2U, 4U}) {
    for (const void* kernel : {find_norm<Bf16>(lines), find_norm<F16>(lines)}) {
      if (Status status = load_kernel(kernel); !is_ok(status)) return status;
    }
    for (const bool scatters : {false, true}) {
      for (const FusedKey key :
           {FusedKey{scatters, lines, 2, true}, FusedKey{scatters, lines, 2, false},
            FusedKey{scatters, lines, 8, false}, FusedKey{scatters, lines, 64, false}}) {
        for (const void* kernel : {find_fused_bf16(key), find_fused_f16(key)}) {
          if (Status status = load_kernel(kernel); !is_ok(status)) return status;
        }
      }
    }
  }
  return succeeded();
}

}  // namespace cohort::cuda
