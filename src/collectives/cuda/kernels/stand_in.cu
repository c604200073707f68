// Takes part in a call without operands, whatever kernel the other members run: scratch is laid out
// alike for all of them. One thread block pushes everything, then takes everything, so that it
// waits for nobody who waits for a block of it that is not on the device yet. It is slow, and
// seldom.

#include <cstdint>

#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/call.cuh"
#include "collectives/cuda/kernels/launch.hpp"
#include "collectives/cuda/kernels/stand_in.hpp"

namespace cohort::cuda {

namespace {

constexpr std::uint32_t kThreads = 512;
/// Not the sentinel, and NaN in every type of floats.
constexpr std::uint32_t kNoResult = 0xffffffff;

struct StandInArgs {
  Args<kMembersMax> args;
  std::uint32_t blocks;  ///< of the other members
  bool has_flags;
};

class StandIn {
 public:
  explicit __device__ StandIn(const StandInArgs& args)
      : peers_(args.args.peer),
        call_(args.args.call),
        blocks_(args.blocks),
        has_flags_(args.has_flags) {}

  __device__ void run() {
    wait_for_kernel_before();
    const Entry entry = load_entry(call_);
    turn_ = begin_turn(call_, entry, fault_);
    if (!fault_.is_set()) {
      for (std::uint32_t k = 0; k < call_.peers; ++k) push(peers_[k]);
      for (std::uint32_t k = 0; k < call_.peers; ++k) take(k);
      sweep();
    }
    if (fault_.is_set()) report(call_, peers_, turn_, fault_);
    __syncthreads();
    let_next_kernel_start();
    if (threadIdx.x == 0) add_share(call_);
  }

 private:
  /// Of all_reduce in two steps: what peers have reduced comes behind what they push.
  __device__ bool has_two_steps() const { return call_.second_line != 0; }

  // --- push -------------------------------------------------------------------------------------

  __device__ void push(const Peer& peer) {
    for (std::uint32_t block = threadIdx.x; block < blocks_; block += kThreads) {
      store_line(header_place(turn_, peer.source, block) + peer.distance,
                 header_line(call_, turn_));
    }
    push_lines(peer, 0, peer.in.lines);
    if (has_two_steps()) push_lines(peer, call_.second_line, call_.out.lines);
  }

  __device__ void push_lines(const Peer& peer, std::uint32_t region, std::uint32_t lines) {
    for (std::uint32_t line = threadIdx.x; line < lines; line += kThreads) {
      delay_at(Site::data);
      if (has_flags_) {
        store_line(flag_line_place(turn_, peer.source, line) + peer.distance,
                   {kNoResult, turn_.flag, kNoResult, turn_.flag});
      } else {
        store_line(data_place(turn_, region + peer.to_line + line) + peer.distance,
                   {kNoResult, kNoResult, kNoResult, kNoResult});
      }
    }
  }

  // --- take -------------------------------------------------------------------------------------

  __device__ void take(std::uint32_t k) {
    for (std::uint32_t block = threadIdx.x; block < blocks_; block += kThreads) {
      take_header(k, block);
    }
    const std::uint32_t first = has_two_steps() ? call_.in.lines : peers_[k].out.lines;
    take_lines(k, 0, first);
    if (has_two_steps()) take_lines(k, call_.second_line, peers_[k].out.lines);
  }

  __device__ void take_header(std::uint32_t k, std::uint32_t block) {
    while (!fault_.is_set()) {
      const Line header = load_line(header_place(turn_, k, block));
      if (is_of_this_call(header, turn_)) {
        return compare_header(call_, header, peers_[k].member, fault_);
      }
      give_up_in_time(k);
    }
  }

  __device__ void take_lines(std::uint32_t k, std::uint32_t region, std::uint32_t lines) {
    for (std::uint32_t line = threadIdx.x; line < lines; line += kThreads) {
      if (has_flags_) {
        take_flagged(k, line);
      } else {
        take_data(k, region + peers_[k].from_line + line);
      }
    }
  }

  __device__ void take_flagged(std::uint32_t k, std::uint32_t line) {
    while (!fault_.is_set() &&
           !is_of_this_call(load_line(flag_line_place(turn_, k, line)), turn_)) {
      give_up_in_time(k);
    }
  }

  __device__ void take_data(std::uint32_t k, std::uint32_t line) {
    char* const place = data_place(turn_, line);
    while (!fault_.is_set()) {
      const bool flagged = load_long(chunk_place(turn_, line)) == turn_.sequence;
      if (flagged) fence_system();  // the line came before; what clears it comes behind
      if (flagged || has_arrived(load_line(place))) {
        delay_at(Site::clear);
        return store_own_line(place, {kSentinel, kSentinel, kSentinel, kSentinel});
      }
      give_up_in_time(k);
    }
  }

  __device__ static bool has_arrived(const Line& line) {
    return line.word[0] != kSentinel && line.word[1] != kSentinel && line.word[2] != kSentinel &&
           line.word[3] != kSentinel;
  }

  __device__ void give_up_in_time(std::uint32_t k) {
    if (gives_up(call_, watch_, fault_)) fault_.member = peers_[k].member;
  }

  // --- the end ----------------------------------------------------------------------------------

  /// As the other kernels do (sweep_stale_flags), whose grid is not this one's.
  __device__ void sweep() {
    const std::uint32_t far = turn_.flag ^ 0x80000000U;
    const std::uint32_t header = turn_.flag / kBuffers % kBlocksMax;
    const std::uint32_t line = turn_.flag / kBuffers % kFlagLines;
    for (std::uint32_t k = threadIdx.x; k < call_.peers; k += kThreads) {
      if (header >= blocks_) store_own_line(header_place(turn_, k, header), {0, far, 0, far});
      if (line >= (has_flags_ ? peers_[k].out.lines : 0)) {
        store_own_line(flag_line_place(turn_, k, line), {0, far, 0, far});
      }
    }
  }

  const Peer* peers_;
  const CallArgs& call_;
  const std::uint32_t blocks_;
  const bool has_flags_;
  Turn turn_;
  Fault fault_;
  Watch watch_;
};

__global__ void __launch_bounds__(kThreads) stand_in(const __grid_constant__ StandInArgs args) {
  StandIn(args).run();
}

const void* kernel() noexcept {
  return reinterpret_cast<const void*>(&stand_in);
}

}  // namespace

Status load_stand_in_kernel() {
  return load_kernel(kernel());
}

Status launch_stand_in(const KernelCall& call) {
  if (Status status = check_call(call, true); !is_ok(status)) return status;
  const bool has_flags = call.protocol == Protocol::flags;
  StandInArgs args{make_args<kMembersMax>(call, has_flags ? kLineBytes / 2 : kLineBytes),
                   call.blocks, has_flags};
  KernelCall grid = call;
  grid.blocks = 1;
  grid.threads = kThreads;
  void* parameters[] = {&args};
  return launch_kernel(kernel(), grid, parameters);
}

}  // namespace cohort::cuda
