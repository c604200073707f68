#pragma once

// How a row is spread over a thread block when it is normed: a pure function of its length, so that
// its squares are added in the same order by every kernel and for every grid.

#include <cstdint>

namespace cohort::cuda {

/// Elements of a line of 16 bytes, in the 16-bit types that norms take.
inline constexpr std::uint32_t kNormLineElements = 8;
inline constexpr std::uint32_t kNormThreadsMax = 512;

/// Line i of a row belongs to thread i % threads.
struct NormShape {
  std::uint32_t lines;             ///< of a row
  std::uint32_t lines_per_thread;  ///< 1, 2 or 4
  std::uint32_t threads;           ///< of a block, a multiple of 32
};

/// Of a row of `hidden` elements, a multiple of 8 up to kHiddenMax. Local.
constexpr NormShape norm_shape(std::uint32_t hidden) noexcept {
  NormShape shape{hidden / kNormLineElements, 1, 0};
  while (shape.lines > shape.lines_per_thread * kNormThreadsMax) shape.lines_per_thread *= 2;
  const std::uint32_t needed = (shape.lines + shape.lines_per_thread - 1) / shape.lines_per_thread;
  shape.threads = needed < 64 ? 64 : (needed + 31) / 32 * 32;  // one for each peer at least
  return shape;
}

}  // namespace cohort::cuda
