#pragma once

// `split` for calls whose counts lie on the device: each block reads them, works out for itself
// where every part begins and ends, and goes on as if the host had.

#include <cstdint>

#include "collectives/cuda/kernels/counted_extents.hpp"
#include "collectives/cuda/kernels/split.cuh"

namespace cohort::cuda {

/// `counts` are read once, by each block: peers' may differ, so they are folded into the hash.
struct CountedArgs {
  CountedShape shape;
  const std::uint64_t* counts;
  char* input;
  char* output;
};

/// As `make_piece` does, for lines of 16 bytes.
__device__ inline Piece piece_at(char* operand, const CountedPart& part) {
  char* const address = operand + part.begin;
  const auto number = reinterpret_cast<std::uint64_t>(address);
  const std::uint64_t lines = (part.bytes + kLineBytes - 1) / kLineBytes;
  const std::uint64_t of_last = lines == 0 ? 0 : part.bytes - (lines - 1) * kLineBytes;
  const std::uint64_t places = number | part.bytes | 8;
  return {address, static_cast<std::uint32_t>(lines),
          static_cast<std::uint32_t>(number % kLineBytes == 0 ? part.bytes / kLineBytes : 0),
          static_cast<std::uint32_t>(of_last), static_cast<std::uint32_t>(places & -places)};
}

/// Sets the pieces of a call, by all threads of a block; the first one that finds a count beyond
/// what is planned says so to every member, before it begins.
template <int MEMBERS>
__device__ void set_pieces(Args<MEMBERS>& args, const CountedArgs& counted) {
  const Counted counts(counted.shape, counted.counts);
  const std::uint32_t self = args.call.self;
  for (std::uint32_t k = threadIdx.x; k < args.call.peers; k += blockDim.x) {
    Peer& peer = args.peer[k];
    peer.in = piece_at(counted.input, counts.sent(self, peer.member));
    peer.out = piece_at(counted.output, counts.received(peer.member, self));
  }
  if (threadIdx.x != 0) return;
  args.call.in = piece_at(counted.input, counts.sent(self, self));
  args.call.out = piece_at(counted.output, counts.received(self, self));
  std::uint32_t excess = counts.size();
  for (std::uint32_t index = 0; index < counts.size(); ++index) {
    args.call.hash = fold_count(args.call.hash, index, counted.counts[index]);
    if (excess == counts.size() && counts.exceeds(index)) excess = index;
  }
  if (excess == counts.size()) return;
  const Entry entry = load_entry(args.call);
  Fault fault;
  const Turn turn = begin_turn(args.call, entry, fault);
  if (fault.is_set()) return;
  fault.kind = FaultRecord::Kind::count_too_large;
  fault.member = excess;
  fault.their_hash = counted.counts[excess];
  report(args.call, args.peer, turn, fault);
}

template <class Numbers, int MEMBERS>
__global__ void __launch_bounds__(1024)
    counted(const __grid_constant__ Args<MEMBERS> args, const __grid_constant__ CountedArgs shape) {
  __shared__ SplitProgress progress;
  __shared__ Args<MEMBERS> own;
  constexpr std::uint32_t kWords = sizeof(args) / sizeof(std::uint32_t);
  for (std::uint32_t k = threadIdx.x; k < kWords; k += blockDim.x) {
    reinterpret_cast<std::uint32_t*>(&own)[k] = reinterpret_cast<const std::uint32_t*>(&args)[k];
  }
  wait_for_kernel_before();  // it may have written the counts
  __syncthreads();
  set_pieces(own, shape);
  __syncthreads();
  Split<Numbers, 1, MEMBERS>(own, progress).run();
}

template <class Numbers>
const void* find_counted(int members) {
  switch (members) {
    case 2: return reinterpret_cast<const void*>(&counted<Numbers, 2>);
    case 8: return reinterpret_cast<const void*>(&counted<Numbers, 8>);
    default: return reinterpret_cast<const void*>(&counted<Numbers, kMembersMax>);
  }
}

}  // namespace cohort::cuda
