#include "bench_reference.hpp"

#include <sched.h>

#include <cstring>

namespace cohort::bench {
namespace {

std::uint32_t usable_cpus() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  ::sched_getaffinity(0, sizeof(usable), &usable);
  return static_cast<std::uint32_t>(CPU_COUNT(&usable));
}

}  // namespace

ReferenceSubject::ReferenceSubject(const WorkerSettings& settings, std::size_t pool)
    : rank_(settings.rank),
      rank_count_(settings.rank_count),
      oversubscribed_(settings.rank_count > usable_cpus()),
      shared_(settings, settings.rank_count, pool),
      ordinary_(ordinary_pools(pool)) {
  std::memset(shared_.memory(rank_), 1, pool);
}

bool ReferenceSubject::supports(const Job& job) const {
  return job.op == "memcpy" || job.op == "memcpy_cached" || job.op == "yield_barrier" ||
         job.op == "spin_barrier";
}

Pools ReferenceSubject::pools(const Job& /*job*/) {
  return {shared_.memory((rank_ + 1) % rank_count_), ordinary_.output};
}

void ReferenceSubject::begin(const Job& job) {
  copies_ = job.op.starts_with("memcpy");
  fresh_ = job.op == "memcpy" && !job.rotating;
  bytes_ = job.bytes;
  yields_ = job.op == "yield_barrier" || (copies_ && oversubscribed_);
  barrier();
}

/// New data by its owner, so that it lies in the owner's cache and not in this rank's.
void ReferenceSubject::prepare_run() {
  if (!fresh_) return;
  barrier();
  std::memset(shared_.memory(rank_), static_cast<int>(++written_ % 251), bytes_);
  barrier();
}

template <typename Pause>
void ReferenceSubject::barrier(const Pause& pause) {
  const std::uint64_t sequence = ++sequence_;
  shared_.words(rank_).arrived.store(sequence, std::memory_order_seq_cst);
  for (std::uint32_t step = 1; step < rank_count_; ++step) {
    const std::atomic<std::uint64_t>& word = shared_.words((rank_ + step) % rank_count_).arrived;
    while (word.load(std::memory_order_acquire) < sequence) pause();
  }
}

void ReferenceSubject::barrier() {
  if (yields_) {
    barrier([] { ::sched_yield(); });
  } else {
    barrier(pause_briefly);
  }
}

void ReferenceSubject::run(const std::byte* input, std::byte* output) {
  if (copies_) {
    std::memcpy(output, input, bytes_);
  } else {
    barrier();
  }
}

}  // namespace cohort::bench
