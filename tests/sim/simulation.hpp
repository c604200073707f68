#pragma once

// Ranks as fibers of one thread. One runs at a time; at every test point and in every wait the
// scheduler may let another go on. The clock of deadlines moves only when no rank can run, so a
// deadline that passes means that the ranks hang.

#include <ucontext.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/test_point.hpp"
#include "sim/scheduler.hpp"

namespace cohort::sim {

/// Stacks of fibers, used by one simulation after the other.
class Stacks {
 public:
  Stacks() = default;
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  static constexpr std::size_t kBytes = 256 * 1024;
  void* stack(std::uint32_t index);

 private:
  std::vector<void*> stacks_;
};

class Simulation final : public TestHooks {
 public:
  /// `left_out`: a step of the protocol that ranks leave out, to see whether that is noticed.
  Simulation(Stacks& stacks, std::uint32_t rank_count, std::uint64_t seed,
             std::string_view left_out = {});
  ~Simulation() override;

  /// Runs `body(rank)` on every rank until all have returned; it must not throw.
  void run(const std::function<void(std::uint32_t)>& body);

  std::uint64_t switches() const noexcept { return switches_; }
  /// Whether some rank's time ran out with no rank able to run.
  bool clock_moved() const noexcept { return clock_moved_; }
  /// The end of the schedule, "2:call.publish 0:call.compare ...", and how long all of it was.
  std::string schedule() const;
  /// Stands for the whole schedule: which ranks passed how many points in which order.
  std::uint64_t schedule_hash() const noexcept { return schedule_hash_; }

  void reach(std::string_view point) override;
  bool simulates() const noexcept override { return true; }
  void sleep(FunctionRef<bool()> awake, TimePoint until) override;
  TimePoint now() override { return now_; }
  bool leaves_out(std::string_view step) const noexcept override {
    return !left_out_.empty() && step == left_out_;
  }

 private:
  struct Wait {
    FunctionRef<bool()> awake;
    TimePoint until;
  };
  struct Fiber {
    ucontext_t context{};
    std::array<std::uint64_t, 2> exceptions{};  // what the C++ runtime knows of those in flight
    std::optional<Wait> wait;
    bool ended = false;
  };
  struct Visit {
    std::uint32_t rank;
    std::string_view point;
  };

  static void enter();
  void note(std::string_view point);
  std::uint32_t choose();
  void leave_for(std::uint32_t next);
  void resume(std::uint32_t rank);

  Stacks* stacks_;
  Scheduler scheduler_;
  std::string left_out_;
  std::function<void(std::uint32_t)> body_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::uint32_t> runnable_;
  ucontext_t main_{};
  std::uint32_t current_ = 0;
  std::uint32_t next_ = 0;
  TimePoint now_{std::chrono::hours(1)};
  bool clock_moved_ = false;
  std::uint64_t switches_ = 0;
  std::uint64_t visits_ = 0;
  std::uint64_t schedule_hash_ = 0;
  std::array<Visit, 256> last_visits_{};
};

}  // namespace cohort::sim
