#pragma once

// Which bytes of a call go from whom to whom, and where they lie on the way: pure, of what all
// members agree on. Read by the host code of the kernels and by tests.

#include <cstddef>
#include <cstdint>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

constexpr bool is_reduction_call(Op op) noexcept {
  return op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
}

/// Lines of `line_bytes` that hold `bytes`, the last one perhaps in part.
constexpr std::uint64_t lines_of(std::uint64_t bytes, std::uint32_t line_bytes) noexcept {
  return (bytes + line_bytes - 1) / line_bytes;
}

constexpr std::uint64_t whole_chunks(std::uint64_t lines) noexcept {
  return (lines + kChunkLines - 1) / kChunkLines * kChunkLines;
}

/// A part of an operand: bytes [begin, begin + bytes).
struct Extent {
  std::uint64_t begin;
  std::uint64_t bytes;
};

/// Of all_reduce in two steps: the part that a member reduces. Whole lines but for the last one.
constexpr std::uint64_t two_shot_part_lines(const KernelCall& call) noexcept {
  return lines_of(lines_of(call.bytes, kLineBytes), call.members.count);
}
constexpr Extent two_shot_part(const KernelCall& call, std::uint32_t member) noexcept {
  const std::uint64_t part = two_shot_part_lines(call) * kLineBytes;
  const std::uint64_t begin = part * member < call.bytes ? part * member : call.bytes;
  return {begin, call.bytes - begin < part ? call.bytes - begin : part};
}

constexpr std::uint64_t sum_of_counts(const std::uint64_t* counts, std::uint32_t step,
                                      std::uint32_t end) noexcept {
  std::uint64_t sum = 0;
  for (std::uint32_t k = 0; k < end; ++k) sum += counts[std::size_t{k} * step];
  return sum;
}

/// What member `from` sends to member `to`. With from == to: what stays there. Of all_reduce in two
/// steps the first one.
constexpr std::uint64_t sent_bytes(const KernelCall& call, std::uint32_t from,
                                   std::uint32_t to) noexcept {
  switch (call.op) {
    case Op::all_reduce:
      return call.algorithm == Algorithm::two_shot ? two_shot_part(call, to).bytes : call.bytes;
    case Op::all_gather:
    case Op::reduce_scatter:
    case Op::all_to_all: return call.bytes;
    case Op::all_gatherv: return call.counts[from];
    case Op::reduce_scatterv: return call.counts[to];
    case Op::broadcast: return from == call.root ? call.bytes : 0;
    case Op::all_to_allv: return call.counts[std::size_t{from} * call.members.count + to];
    default: return 0;
  }
}

/// Where that begins in the input of `from`.
constexpr std::uint64_t input_begin(const KernelCall& call, std::uint32_t from,
                                    std::uint32_t to) noexcept {
  switch (call.op) {
    case Op::all_reduce:
      return call.algorithm == Algorithm::two_shot ? two_shot_part(call, to).begin : 0;
    case Op::reduce_scatter:
    case Op::all_to_all: return call.bytes * to;
    case Op::reduce_scatterv: return sum_of_counts(call.counts, 1, to);
    case Op::all_to_allv:
      return sum_of_counts(call.counts + std::size_t{from} * call.members.count, 1, to);
    default: return 0;
  }
}

/// Where what `from` sends goes in the output of `to`. Of reductions: where the result goes.
constexpr std::uint64_t output_begin(const KernelCall& call, std::uint32_t from,
                                     std::uint32_t to) noexcept {
  switch (call.op) {
    case Op::all_gather:
    case Op::all_to_all: return call.bytes * from;
    case Op::all_gatherv: return sum_of_counts(call.counts, 1, from);
    case Op::all_to_allv: return sum_of_counts(call.counts + to, call.members.count, from);
    case Op::all_reduce:
      return call.algorithm == Algorithm::two_shot ? two_shot_part(call, to).begin : 0;
    default: return 0;
  }
}

/// The line of `to`'s scratch buffer where what `from` sends begins: the sources one behind the
/// other, each at a whole chunk.
constexpr std::uint64_t scratch_line(const KernelCall& call, std::uint32_t from,
                                     std::uint32_t to) noexcept {
  if (call.op == Op::all_reduce && call.algorithm == Algorithm::two_shot) {
    return source_index(from, to) * whole_chunks(two_shot_part_lines(call));
  }
  std::uint64_t line = 0;
  for (std::uint32_t before = 0; before < from; ++before) {
    if (before == to) continue;
    line += whole_chunks(lines_of(sent_bytes(call, before, to), kLineBytes));
  }
  return line;
}

/// Of all_reduce in two steps: where the results that peers pass on begin.
constexpr std::uint64_t second_region_line(const KernelCall& call) noexcept {
  return (call.members.count - 1) * whole_chunks(two_shot_part_lines(call));
}

/// Lines of a scratch buffer that a call uses on member `to`, with data that carry sentinels.
constexpr std::uint64_t scratch_lines(const KernelCall& call, std::uint32_t to) noexcept {
  if (call.op == Op::all_reduce && call.algorithm == Algorithm::two_shot) {
    return 2 * second_region_line(call);
  }
  const std::uint32_t last = call.members.count - 1 == to ? to - 1 : call.members.count - 1;
  return scratch_line(call, last, to) +
         whole_chunks(lines_of(sent_bytes(call, last, to), kLineBytes));
}

/// The largest part that one member sends to another or keeps: what a grid has to cover.
constexpr std::uint64_t largest_part_bytes(const KernelCall& call) noexcept {
  const std::uint32_t members = call.members.count;
  std::uint64_t largest = 0;
  switch (call.op) {
    case Op::all_gatherv:
    case Op::reduce_scatterv:
      for (std::uint32_t k = 0; k < members; ++k) {
        if (call.counts[k] > largest) largest = call.counts[k];
      }
      return largest;
    case Op::all_to_allv:
      for (std::uint32_t k = 0; k < members * members; ++k) {
        if (call.counts[k] > largest) largest = call.counts[k];
      }
      return largest;
    case Op::barrier: return 0;
    default:
      if (call.algorithm == Algorithm::two_shot) return two_shot_part(call, 0).bytes;
      return call.bytes;
  }
}

}  // namespace cohort::cuda
