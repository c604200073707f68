#pragma once

// Memory that all ranks' GPUs reach: what NCCL registers as a window and what the bounds of the
// hardware store into. Independent of cohort, so that peers are measured without it.

#include <cuda.h>

#include <cstddef>
#include <vector>

#include "ranks.hpp"

namespace cohort::gpu_bench {

class Arena {
 public:
  /// Collective. Throws: std::runtime_error naming the CUDA call that failed.
  Arena(Ranks& ranks, std::size_t bytes);

  /// Memory of a rank's GPU, as this process sees it.
  std::byte* of(std::uint32_t rank) const noexcept { return base_ + rank * bytes_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::byte* base_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace cohort::gpu_bench
