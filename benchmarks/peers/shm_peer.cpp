// The all-reduce over shared memory that inference engines carry for CPUs, written anew from its
// description: every rank has a state word and two buffers that take turns. A call copies the
// operand into this rank's buffer, raises its state, waits for the others' states, and reduces:
// below 1 MiB everybody reduces everything, above it each its own slice, then all copy the slices
// together. Operands beyond a buffer go in pieces. Its waits spin and have no end; sums of floats
// only, and an all-gather.

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>

#include "bench_shared.hpp"

namespace cohort::bench {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{32} << 20;
constexpr std::size_t kEverybodyBytesMax = std::size_t{1} << 20;

class SharedSubject final : public Subject {
 public:
  SharedSubject(const WorkerSettings& settings, std::size_t pool)
      : rank_(settings.rank),
        rank_count_(settings.rank_count),
        buffer_bytes_(std::min(kBufferBytes, settings.bytes_max)),
        shared_(settings, settings.rank_count, 2 * buffer_bytes_),
        pools_(ordinary_pools(pool)) {
    cpu_set_t usable;
    CPU_ZERO(&usable);
    ::sched_getaffinity(0, sizeof(usable), &usable);
    // The engines' own versions only spin; with more ranks than CPUs that would never end.
    yields_ = rank_count_ > static_cast<std::uint32_t>(CPU_COUNT(&usable));
  }

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t rank_count() const override { return rank_count_; }
  bool supports(const Job& job) const override {
    return (job.op == "all_reduce" && job.dtype == "f32") || job.op == "all_gather";
  }
  Pools pools(const Job& /*job*/) override { return pools_; }
  void begin(const Job& job) override {
    gathers_ = job.op == "all_gather";
    in_place_ = job.in_place;
    bytes_ = gathers_ ? job.bytes / rank_count_ : job.bytes;
  }
  void run(const std::byte* input, std::byte* output) override {
    for (std::size_t begin = 0; begin < bytes_; begin += buffer_bytes_) {
      const std::size_t bytes = std::min(buffer_bytes_, bytes_ - begin);
      ++sequence_;
      std::memcpy(buffer_of(rank_), input + begin, bytes);
      raise(&SharedWords::copied);
      if (gathers_) {
        for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
          if (in_place_ && rank == rank_) continue;
          std::memcpy(output + rank * bytes_ + begin, buffer_of(rank), bytes);
        }
      } else if (bytes <= kEverybodyBytesMax) {
        reduce(output + begin, 0, bytes);
      } else {
        reduce_in_slices(output + begin, bytes);
      }
    }
  }

 private:
  std::byte* buffer_of(std::uint32_t rank) const {
    return shared_.memory(rank) + sequence_ % 2 * buffer_bytes_;
  }

  /// Says that this rank has come so far, and waits until all have.
  void raise(std::atomic<std::uint64_t> SharedWords::*word) {
    (shared_.words(rank_).*word).store(sequence_, std::memory_order_release);
    for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
      while ((shared_.words(rank).*word).load(std::memory_order_acquire) < sequence_) {
        if (yields_) {
          ::sched_yield();
        } else {
          pause_briefly();
        }
      }
    }
  }

  void reduce(std::byte* to, std::size_t begin, std::size_t bytes) const {
    float* __restrict sum = reinterpret_cast<float*>(to);
    const std::size_t count = bytes / sizeof(float);
    const auto* first = reinterpret_cast<const float*>(buffer_of(0) + begin);
    const auto* second = reinterpret_cast<const float*>(buffer_of(1) + begin);
    for (std::size_t i = 0; i < count; ++i) sum[i] = first[i] + second[i];
    for (std::uint32_t rank = 2; rank < rank_count_; ++rank) {
      const auto* next = reinterpret_cast<const float*>(buffer_of(rank) + begin);
      for (std::size_t i = 0; i < count; ++i) sum[i] += next[i];
    }
  }

  std::size_t slice_begin(std::uint32_t rank, std::size_t bytes) const {
    const std::size_t elements = bytes / sizeof(float);
    return elements / rank_count_ * rank * sizeof(float);
  }

  void reduce_in_slices(std::byte* output, std::size_t bytes) {
    const auto end_of = [&](std::uint32_t rank) {
      return rank + 1 == rank_count_ ? bytes : slice_begin(rank + 1, bytes);
    };
    const std::size_t begin = slice_begin(rank_, bytes);
    // Nobody else reads this slice of this rank's buffer before it is reduced.
    reduce(output + begin, begin, end_of(rank_) - begin);
    std::memcpy(buffer_of(rank_) + begin, output + begin, end_of(rank_) - begin);
    raise(&SharedWords::arrived);
    for (std::uint32_t rank = 0; rank < rank_count_; ++rank) {
      if (rank == rank_) continue;
      const std::size_t from = slice_begin(rank, bytes);
      std::memcpy(output + from, buffer_of(rank) + from, end_of(rank) - from);
    }
  }

  std::uint32_t rank_;
  std::uint32_t rank_count_;
  std::size_t buffer_bytes_;
  SharedRegion shared_;
  Pools pools_;
  std::uint64_t sequence_ = 0;
  std::size_t bytes_ = 0;
  bool gathers_ = false;
  bool in_place_ = false;
  bool yields_ = false;
};

}  // namespace
}  // namespace cohort::bench

int main() {
  using namespace cohort::bench;
  try {
    const WorkerSettings settings = worker_settings();
    SharedSubject subject(settings, pool_bytes(settings.bytes_max));
    bind_to_cpu(settings.rank);
    serve(subject, settings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
