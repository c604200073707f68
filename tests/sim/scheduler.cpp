#include "sim/scheduler.hpp"

#include <algorithm>
#include <numeric>

namespace cohort::sim {
namespace {

constexpr std::uint64_t kFirstPriority = 1'000'000;
constexpr int kChangePoints = 4;
// About as many switches as a program of a dozen calls on a few ranks has.
constexpr std::uint64_t kStepsOfAProgram = 1500;
constexpr std::uint64_t kSlowOneIn = 200;

}  // namespace

const char* to_string(Policy policy) noexcept {
  switch (policy) {
    case Policy::random: return "random";
    case Policy::priorities: return "priorities";
    case Policy::slow_rank: return "slow_rank";
  }
  return "unknown";
}

Scheduler::Scheduler(std::uint64_t seed, std::uint32_t rank_count)
    : policy_(static_cast<Policy>(seed % 3)), random_(seed * 2 + 1), priorities_(rank_count) {
  std::iota(priorities_.begin(), priorities_.end(), kFirstPriority);
  std::shuffle(priorities_.begin(), priorities_.end(), random_);
  for (int i = 0; i < kChangePoints; ++i) change_points_.push_back(random_() % kStepsOfAProgram);
  slow_ = static_cast<std::uint32_t>(random_() % rank_count);
}

std::uint32_t Scheduler::choose(std::span<const std::uint32_t> runnable) {
  ++step_;
  switch (policy_) {
    case Policy::random: last_ = runnable[random_() % runnable.size()]; break;
    case Policy::priorities: last_ = choose_by_priority(runnable); break;
    case Policy::slow_rank: last_ = choose_but_slow(runnable); break;
  }
  return last_;
}

std::uint32_t Scheduler::choose_by_priority(std::span<const std::uint32_t> runnable) {
  if (std::count(change_points_.begin(), change_points_.end(), step_) != 0) {
    priorities_[last_] = kFirstPriority - step_ - 1;
  }
  return *std::max_element(
      runnable.begin(), runnable.end(),
      [this](std::uint32_t a, std::uint32_t b) { return priorities_[a] < priorities_[b]; });
}

/// Round robin among the others; the slow one if nobody else can run, or now and then.
std::uint32_t Scheduler::choose_but_slow(std::span<const std::uint32_t> runnable) {
  const bool spare = random_() % kSlowOneIn != 0;
  const auto after_last = std::upper_bound(runnable.begin(), runnable.end(), last_);
  const auto first = static_cast<std::size_t>(after_last - runnable.begin());
  for (std::size_t i = 0; i < runnable.size(); ++i) {
    const std::uint32_t rank = runnable[(first + i) % runnable.size()];
    if (rank != slow_ || !spare) return rank;
  }
  return slow_;
}

}  // namespace cohort::sim
