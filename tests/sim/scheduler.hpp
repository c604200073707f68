#pragma once

// Which rank runs next: a pure function of a seed and of what could run so far.

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace cohort::sim {

/// How schedules differ from each other: evenly; by priorities that change a few times, which finds
/// faults that need few but exact switches; with one rank that runs only when it must.
enum class Policy : std::uint8_t { random, priorities, slow_rank };
const char* to_string(Policy policy) noexcept;

class Scheduler {
 public:
  /// Seeds go through all policies in turn.
  Scheduler(std::uint64_t seed, std::uint32_t rank_count);

  Policy policy() const noexcept { return policy_; }
  /// One of `runnable`, which holds at least one rank, in rising order.
  std::uint32_t choose(std::span<const std::uint32_t> runnable);

 private:
  std::uint32_t choose_by_priority(std::span<const std::uint32_t> runnable);
  std::uint32_t choose_but_slow(std::span<const std::uint32_t> runnable);

  Policy policy_;
  std::mt19937_64 random_;
  std::uint64_t step_ = 0;
  std::uint32_t last_ = 0;
  std::uint32_t slow_ = 0;
  std::vector<std::uint64_t> priorities_;     // by rank; the highest runs
  std::vector<std::uint64_t> change_points_;  // steps at which the running rank falls behind all
};

}  // namespace cohort::sim
