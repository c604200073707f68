#include "collectives/timeline.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "collectives/ledger.hpp"

namespace cohort::collectives {

namespace {

thread_local Timeline* current = nullptr;

std::int64_t steady_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

}  // namespace

Timeline::Timeline(std::size_t calls_max) : first_ticks_(ticks()), first_ns_(steady_ns()) {
  calls_.reserve(calls_max);
}

void Timeline::clear() noexcept {
  calls_.clear();
  dropped_ = 0;
}

double Timeline::seconds_per_tick() const {
  constexpr std::int64_t kApartNs = 1'000'000;
  const std::int64_t early_ns = kApartNs - (steady_ns() - first_ns_);
  if (early_ns > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(early_ns));
  const auto apart_ticks = static_cast<double>(ticks() - first_ticks_);
  return static_cast<double>(steady_ns() - first_ns_) * 1e-9 / apart_ticks;
}

RecordCalls::RecordCalls(Timeline& timeline) noexcept : previous_(current) {
  current = &timeline;
}

RecordCalls::~RecordCalls() {
  current = previous_;
}

Timeline* timeline_of_thread() noexcept {
  return current;
}

}  // namespace cohort::collectives
