#pragma once

// What the machine itself can do: copies out of a peer's memory by all ranks at once, and barriers
// that do nothing but wait.

#include <string>

#include "bench_shared.hpp"

namespace cohort::bench {

/// Jobs "memcpy" (`bytes` that the next rank has just written), "memcpy_cached" (`bytes` of the
/// next rank's memory that nobody writes), "yield_barrier" and "spin_barrier".
class ReferenceSubject final : public Subject {
 public:
  ReferenceSubject(const WorkerSettings& settings, std::size_t pool);

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t rank_count() const override { return rank_count_; }
  bool supports(const Job& job) const override;
  Pools pools(const Job& job) override;
  void begin(const Job& job) override;
  void run(const std::byte* input, std::byte* output) override;
  bool prepares_runs() const override { return fresh_; }
  void prepare_run() override;

 private:
  template <typename Pause>
  void barrier(const Pause& pause);
  void barrier();

  std::uint32_t rank_;
  std::uint32_t rank_count_;
  bool oversubscribed_;
  SharedRegion shared_;
  Pools ordinary_;
  std::uint64_t sequence_ = 0;
  std::size_t bytes_ = 0;
  bool yields_ = false;
  bool fresh_ = false;
  bool copies_ = false;
  std::uint64_t written_ = 0;
};

}  // namespace cohort::bench
