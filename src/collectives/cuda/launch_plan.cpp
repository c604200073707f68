#include "collectives/cuda/launch_plan.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collectives/cuda/kernels/extents.hpp"

namespace cohort::cuda {
namespace {

constexpr std::uint32_t kWarp = 32;
constexpr std::uint64_t kChunkBytes = std::uint64_t{kChunkLines} * kLineBytes;
constexpr std::uint32_t kFlagLineBytes = kLineBytes / 2;
/// Beyond it two lines a thread are faster than twice the threads.
constexpr std::uint64_t kOneLineMax = 512 * 512;
constexpr std::uint32_t kSplitBlocks = 256;
constexpr std::uint32_t kSplitThreads = 512;
static_assert(kSplitThreads <= kFlagLines, "threads that count as resident on any device");

constexpr std::array kBuiltInGrid = std::to_array<GridStep>({{64, 128},
                                                             {128, 512},
                                                             {32, 1024},
                                                             {64, 2048},
                                                             {128, 8192},
                                                             {192, 16384},
                                                             {256, 32768},
                                                             {192, 65536},
                                                             {256, 131072},
                                                             {512}});

constexpr std::uint32_t whole_warps(std::uint64_t threads) noexcept {
  return static_cast<std::uint32_t>((threads + kWarp - 1) / kWarp * kWarp);
}

constexpr std::uint64_t chunk_lines(std::uint64_t bytes) noexcept {
  return whole_chunks(lines_of(bytes, kLineBytes));
}

bool is_equal_parts(Op op) noexcept {
  return op == Op::all_gather || op == Op::reduce_scatter || op == Op::all_to_all;
}

/// Of what the parts of a gather or scatter make up together.
std::uint64_t whole_bytes(const KernelCall& call) noexcept {
  if (is_equal_parts(call.op)) return call.bytes * call.members.count;
  return sum_of_counts(call.counts, 1, call.members.count);
}

bool fits(const KernelCall& call) noexcept {
  return most_scratch_lines(call) * kLineBytes <= call.map.data_bytes;
}

/// There are kernels for two lines a thread only where each line has one peer.
std::uint32_t lines_per_thread_max(const KernelCall& call) noexcept {
  return call.members.count == 2 && call.algorithm != Algorithm::two_shot ? 2 : 1;
}

/// Threads of a block by the grid in force. Requires: `lines` > 0.
std::uint32_t threads_for(const KernelCall& call, std::uint64_t lines,
                          const GridLimits& limits) noexcept {
  std::span<const GridStep> grid;
  if (limits.table != nullptr) grid = limits.table->grid(call.op, call.members.count);
  if (grid.empty()) grid = built_in_grid();
  const auto step = std::find_if(grid.begin(), grid.end(),
                                 [&](const GridStep& it) { return lines <= it.lines_max; });
  return step->threads;  // the last has no limit
}

/// Chooses the grid. False if a thread would have more lines than there are kernels for.
bool choose_grid(KernelCall& call, std::uint64_t lines, const GridLimits& limits) noexcept {
  // Each peer's header has a thread of its own in every block.
  const std::uint32_t least = whole_warps(std::max(call.members.count - 1, 1U));
  const std::uint32_t most = std::max(limits.resident_threads / kWarp * kWarp, kFlagLines);
  const std::uint32_t lines_most = lines_per_thread_max(call);
  call.lines_per_thread = lines > kOneLineMax ? lines_most : 1;
  if (lines == 0) {
    call.blocks = 1;
    call.threads = least;
    return true;
  }
  const std::uint32_t measured = threads_for(call, lines, limits);
  for (; call.lines_per_thread <= lines_most; ++call.lines_per_thread) {
    const std::uint64_t wanted = lines_of(lines, call.lines_per_thread);
    const std::uint64_t fit_blocks = std::min<std::uint64_t>(lines_of(wanted, kBlocksMax), 512);
    const std::uint32_t threads = std::max(measured, whole_warps(fit_blocks));
    const std::uint32_t few = whole_warps(std::min<std::uint64_t>(wanted, threads));
    call.threads = std::min(std::max(few, least), most);
    const std::uint64_t blocks = lines_of(wanted, call.threads);
    call.blocks = static_cast<std::uint32_t>(blocks);
    if (blocks <= kBlocksMax && blocks * call.threads <= most) return true;
  }
  return false;  // never of lines that carry flags: there are too few of them
}

void choose_split(KernelCall& call, const GridLimits& limits) noexcept {
  call.algorithm = Algorithm::split;
  call.lines_per_thread = call.members.count == 2 && !is_reduction_call(call.op) ? 2 : 1;
  call.threads = kSplitThreads;
  call.blocks = std::clamp(limits.resident_threads / call.threads, 1U, kSplitBlocks);
}

/// Bytes [begin, end) of the whole operand of a gather or scatter as an uneven one.
KernelCall window_of(const KernelCall& call, std::uint64_t begin, std::uint64_t end,
                     std::span<std::uint64_t> counts) noexcept {
  KernelCall window = call;
  const bool gathers = call.op == Op::all_gather || call.op == Op::all_gatherv;
  window.op = gathers ? Op::all_gatherv : Op::reduce_scatterv;
  std::uint64_t part_begin = 0;
  std::uint64_t own_begin = 0;  // of the window within this rank's part
  for (std::uint32_t member = 0; member < call.members.count; ++member) {
    const std::uint64_t part_end =
        part_begin + (is_equal_parts(call.op) ? call.bytes : call.counts[member]);
    const std::uint64_t from = std::clamp(begin, part_begin, part_end);
    const std::uint64_t to = std::clamp(end, part_begin, part_end);
    counts[member] = to - from;
    if (member == call.members.self) own_begin = from - part_begin;
    part_begin = part_end;
  }
  window.counts = counts.data();
  window.bytes = 0;
  window.input = call.input + (gathers ? own_begin : begin);
  window.output = call.output + (gathers ? begin : own_begin);
  return window;
}

class Planner {
 public:
  Planner(Path path, const GridLimits& limits, std::span<std::uint64_t> counts,
          FunctionRef<void(KernelCall&)> emit)
      : path_(path), limits_(limits), counts_(counts), emit_(emit) {}

  void plan(const KernelCall& call) {
    if (call.op == Op::all_reduce && path_ == Path::gpu_two_shot) return plan_two_shot(call);
    KernelCall once = call;
    once.algorithm = Algorithm::once;
    plan_in_windows(once);
  }

 private:
  /// Requires: it fits. Writes protocol, grid and algorithm into it.
  void launch(KernelCall& call) {
    const std::uint64_t part = largest_part_bytes(call);
    const bool flagged = path_ == Path::gpu_ll && lines_of(part, kFlagLineBytes) <= kFlagLines;
    call.protocol = flagged ? Protocol::flags : Protocol::sentinel;
    const std::uint64_t lines = lines_of(part, flagged ? kFlagLineBytes : kLineBytes);
    if (!choose_grid(call, lines, limits_)) choose_split(call, limits_);
    emit_(call);
  }

  bool is_flagged(const KernelCall& call) const noexcept {
    return path_ == Path::gpu_ll &&
           lines_of(largest_part_bytes(call), kFlagLineBytes) <= kFlagLines;
  }

  void plan_in_windows(KernelCall& call) {
    if (is_flagged(call) || fits(call)) return launch(call);
    const std::uint64_t room = call.map.data_bytes / kChunkBytes * kChunkBytes;
    const std::uint64_t sources = call.members.count - 1;
    switch (call.op) {
      case Op::all_reduce: return for_each_piece(call, room / sources / kChunkBytes * kChunkBytes);
      case Op::broadcast: return for_each_piece(call, room);
      case Op::reduce_scatter:
      case Op::reduce_scatterv:
        return for_each_window(call, room / sources / kChunkBytes * kChunkBytes);
      // Every source's part may end within a chunk.
      default: return for_each_window(call, room - (sources - 1) * kChunkBytes);
    }
  }

  void for_each_piece(const KernelCall& call, std::uint64_t piece_bytes) {
    for (std::uint64_t begin = 0; begin < call.bytes; begin += piece_bytes) {
      KernelCall piece = call;
      piece.bytes = std::min(piece_bytes, call.bytes - begin);
      piece.input = call.input + begin;
      piece.output = call.output + begin;
      launch(piece);
    }
  }

  void for_each_window(const KernelCall& call, std::uint64_t window_bytes) {
    const std::uint64_t whole = whole_bytes(call);
    for (std::uint64_t begin = 0; begin < whole; begin += window_bytes) {
      KernelCall window = window_of(call, begin, std::min(whole, begin + window_bytes), counts_);
      launch(window);
    }
  }

  void plan_two_shot(const KernelCall& call) {
    KernelCall both = call;
    both.algorithm = Algorithm::two_shot;
    both.protocol = Protocol::sentinel;
    const std::uint64_t lines = lines_of(two_shot_part(both, 0).bytes, kLineBytes);
    if (fits(both) && choose_grid(both, lines, limits_)) return emit_(both);
    const std::uint64_t room = call.map.data_bytes / kChunkBytes * kChunkBytes;
    const std::uint64_t part = room / (call.members.count - 1) / kChunkBytes * kChunkBytes;
    const std::uint64_t window = part * call.members.count;
    for (std::uint64_t begin = 0; begin < call.bytes; begin += window) {
      KernelCall piece = both;
      piece.bytes = std::min(window, call.bytes - begin);
      piece.input = call.input + begin;
      piece.output = call.output + begin;
      launch_two_steps(piece);
    }
  }

  /// `whole` is an all_reduce in two steps; here each step is a kernel.
  void launch_two_steps(const KernelCall& whole) {
    const Extent own = two_shot_part(whole, whole.members.self);
    for (std::uint32_t member = 0; member < whole.members.count; ++member) {
      counts_[member] = two_shot_part(whole, member).bytes;
    }
    const bool equal = counts_[0] == counts_[whole.members.count - 1];
    KernelCall step = whole;
    step.algorithm = Algorithm::once;
    step.bytes = equal ? counts_[0] : 0;
    step.counts = equal ? nullptr : counts_.data();
    step.op = equal ? Op::reduce_scatter : Op::reduce_scatterv;
    step.output = whole.output + own.begin;
    launch(step);
    step.algorithm = Algorithm::once;
    step.op = equal ? Op::all_gather : Op::all_gatherv;
    step.input = whole.output + own.begin;
    step.output = whole.output;
    launch(step);
  }

  Path path_;
  GridLimits limits_;
  std::span<std::uint64_t> counts_;
  FunctionRef<void(KernelCall&)> emit_;
};

}  // namespace

DeviceShare device_share(std::uint64_t threads, std::uint64_t sharers) noexcept {
  if (sharers == 1) return {static_cast<std::uint32_t>(threads), ~0U};
  // With 64 registers each, half of a device's threads run at once; with 128, a quarter.
  const std::uint64_t share = threads / 2 / sharers;
  const std::uint64_t early = share / 8;
  return {static_cast<std::uint32_t>(share - early), static_cast<std::uint32_t>(early / 2)};
}

std::span<const GridStep> built_in_grid() noexcept {
  return kBuiltInGrid;
}

std::uint64_t most_scratch_lines(const KernelCall& call) noexcept {
  const std::uint64_t sources = call.members.count - 1;
  if (call.op == Op::all_reduce && call.algorithm == Algorithm::two_shot) {
    return 2 * second_region_line(call);
  }
  switch (call.op) {
    case Op::all_reduce:
    case Op::all_gather:
    case Op::reduce_scatter:
    case Op::all_to_all: return sources * chunk_lines(call.bytes);
    case Op::broadcast: return chunk_lines(call.bytes);
    case Op::reduce_scatterv: return sources * chunk_lines(largest_part_bytes(call));
    case Op::all_gatherv: {
      std::uint64_t sum = 0;
      std::uint64_t smallest = ~std::uint64_t{0};
      for (std::uint32_t member = 0; member < call.members.count; ++member) {
        const std::uint64_t lines = chunk_lines(call.counts[member]);
        sum += lines;
        smallest = std::min(smallest, lines);
      }
      return sum - smallest;
    }
    case Op::all_to_allv: {
      std::uint64_t most = 0;
      for (std::uint32_t to = 0; to < call.members.count; ++to) {
        std::uint64_t sum = 0;
        for (std::uint32_t from = 0; from < call.members.count; ++from) {
          if (from != to) sum += chunk_lines(call.counts[from * call.members.count + to]);
        }
        most = std::max(most, sum);
      }
      return most;
    }
    default: return 0;
  }
}

bool can_be_launched(const KernelCall& call) noexcept {
  const bool is_exchange = call.op == Op::all_to_all || call.op == Op::all_to_allv;
  return !is_exchange || fits(call);
}

std::uint64_t launch_hash(std::uint64_t call_hash, const KernelCall& launch,
                          std::uint64_t number) noexcept {
  const std::array<std::uint64_t, 4> words = {
      call_hash, number, launch.bytes,
      std::uint64_t{launch.blocks} << 32U | launch.threads << 16U | launch.lines_per_thread << 8U |
          static_cast<std::uint64_t>(launch.algorithm) << 4U |
          static_cast<std::uint64_t>(launch.protocol)};
  return XXH3_64bits(words.data(), sizeof(words));
}

void for_each_counted_launch(const KernelCall& call, const GridLimits& limits,
                             FunctionRef<void(KernelCall&)> emit) {
  const std::uint64_t sources = call.members.count - 1;
  const std::uint64_t room = call.map.data_bytes / sources / kChunkBytes * kChunkBytes;
  std::uint64_t first = 0;
  do {
    KernelCall window = call;
    window.protocol = Protocol::sentinel;
    window.first = first;
    window.most = call.bytes;
    window.bytes = std::min(room, call.bytes - first);
    choose_split(window, limits);
    // As many blocks as have something to do where parts are as large as they may be.
    const std::uint64_t lines = std::max<std::uint64_t>(lines_of(window.bytes, kLineBytes), 1);
    window.blocks = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(window.blocks, lines_of(lines, window.threads / 2)));
    emit(window);
    first += room;
  } while (first < call.bytes);
}

void for_each_launch(const KernelCall& call, Path path, const GridLimits& limits,
                     std::span<std::uint64_t> counts, FunctionRef<void(KernelCall&)> emit) {
  Planner(path, limits, counts, emit).plan(call);
}

}  // namespace cohort::cuda
