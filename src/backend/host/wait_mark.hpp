#pragma once

// One wait as the other ranks and health see it, for as long as it lives.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include <cohort/ids.hpp>

#include "backend/host/control_segment.hpp"
#include "base/test_point.hpp"

namespace cohort::host {

/// As words of the control segment hold a point in time: all processes of a host share this clock.
inline std::uint64_t to_ns(std::chrono::steady_clock::time_point time) noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

inline std::chrono::steady_clock::time_point from_ns(std::uint64_t nanoseconds) noexcept {
  return std::chrono::steady_clock::time_point(
      std::chrono::nanoseconds(static_cast<std::int64_t>(nanoseconds)));
}

/// Requires: the rank is in no other wait. Thread safety: the rank's thread.
class WaitMark {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  WaitMark(RankBlock& mine, WorldRank peer, TimePoint since) noexcept
      : mine_(mine), peer_(peer), since_(since), patient_since_(since) {
    mine_.waiting_since_ns.store(to_ns(since), std::memory_order_relaxed);
    mine_.waiting_for.store(peer.index() + 1, std::memory_order_release);
  }
  ~WaitMark() {
    end_stall();
    mine_.waiting_for.store(0, std::memory_order_release);
    if (mine_.subject[0].load(std::memory_order_relaxed) != 0) {
      mine_.subject[0].store(0, std::memory_order_relaxed);
    }
  }
  WaitMark(const WaitMark&) = delete;
  WaitMark& operator=(const WaitMark&) = delete;

  WorldRank peer() const noexcept { return peer_; }
  TimePoint since() const noexcept { return since_; }
  /// From when on the stall limit counts.
  TimePoint patient_since() const noexcept { return patient_since_; }
  bool stalled() const noexcept { return stalled_; }
  bool has_subject() const noexcept { return has_subject_; }

  /// Says what the wait is about.
  void set_subject(const std::string& text) noexcept {
    std::array<std::uint64_t, 30> words{};
    static_assert(sizeof words == sizeof mine_.subject);
    std::memcpy(words.data(), text.data(), std::min(text.size(), sizeof words - 1));
    mine_.subject_version.fetch_add(1, std::memory_order_acq_rel);
    for (std::size_t index = 0; index < words.size(); ++index) {
      mine_.subject[index].store(words[index], std::memory_order_release);
    }
    mine_.subject_version.fetch_add(1, std::memory_order_release);
    has_subject_ = true;
  }

  void begin_stall() noexcept {
    stalled_ = true;
    mine_.health.last_stalled_on.store(peer_.index() + 1, std::memory_order_relaxed);
    mine_.health.stalls.fetch_add(1, std::memory_order_relaxed);
    mine_.health.stalled.store(1, std::memory_order_release);
  }

  /// The wait is for outside work: what was waited so far is no stall.
  void forgive(TimePoint now) noexcept {
    end_stall();
    patient_since_ = now;
  }

 private:
  void end_stall() noexcept {
    if (!stalled_) return;
    stalled_ = false;
    const auto took = deadline_clock() - patient_since_;
    mine_.health.stalled_ns.fetch_add(
        static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()),
        std::memory_order_relaxed);
    mine_.health.stalled.store(0, std::memory_order_relaxed);
  }

  RankBlock& mine_;
  WorldRank peer_;
  TimePoint since_;
  TimePoint patient_since_;
  bool stalled_ = false;
  bool has_subject_ = false;
};

}  // namespace cohort::host
