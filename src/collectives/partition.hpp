#pragma once

// How a buffer is cut into one part per rank: pure.

#include <algorithm>
#include <cstddef>

namespace cohort::collectives {

/// Whether each rank of an all_reduce reads whole operands, (P - 1) N bytes after one wait, rather
/// than one part of each and then the others' results, 2 (P - 1) N / P bytes and two waits. Pure,
/// of what all members agree on. For two ranks the bytes are the same.
constexpr bool reduces_whole(std::size_t ranks, std::size_t bytes) noexcept {
  constexpr std::size_t kBytesMax = 32 * 1024;  // beyond it a wait costs less than the bytes
  return ranks <= 2 || (ranks - 1) * bytes <= 3 * kBytesMax;
}

/// Elements [begin, begin + count).
struct Part {
  std::size_t begin = 0;
  std::size_t count = 0;
};

/// Part `index` of `elements` cut into `parts` pieces, each but the last a whole number of cache
/// lines and none more than one line larger than another, so that no two ranks write one line.
constexpr Part part_of(std::size_t elements, std::size_t parts, std::size_t index,
                       std::size_t element_bytes) noexcept {
  const std::size_t line_elements = 64 / element_bytes;
  const std::size_t lines = (elements + line_elements - 1) / line_elements;
  const std::size_t begin_line = lines / parts * index + std::min(index, lines % parts);
  const std::size_t line_count = lines / parts + (index < lines % parts ? 1 : 0);
  const std::size_t begin = std::min(begin_line * line_elements, elements);
  const std::size_t end = std::min((begin_line + line_count) * line_elements, elements);
  return {begin, end - begin};
}

}  // namespace cohort::collectives
