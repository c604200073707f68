#pragma once

// When this rank made each collective call on host memory, for reports and traces: a bounded list
// of its own for each rank, kept only where somebody asked for it.
//
//   collectives::Timeline timeline;                    // memory for `calls_max` calls, at once
//   const collectives::RecordCalls recording(timeline);
//   Session session = commit(world, plan);             // this session's calls are recorded
//   ...
//   timeline.calls();                                  // in the order in which they ended
//
// What is recorded is what the ledger counts: calls that ended without an error, from commit on.
// Calls on GPU memory end on the device and are not recorded. Ranks of one machine share the
// counter of ticks, so their records can be compared; `report/job_timeline.hpp` does.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/verdict.hpp>

namespace cohort::collectives {

/// One call as one rank saw it.
struct RecordedCall {
  std::uint64_t begin_ticks = 0;
  std::uint64_t total_ticks = 0;
  std::uint64_t wait_ticks = 0;  ///< of the total, for peers to arrive, wherever in the call
  std::uint64_t bytes = 0;       ///< as the ledger counts them
  std::uint64_t copied_bytes = 0;
  Lane lane;
  GroupKind group = GroupKind::world;  ///< with the rank and the layout, the instance
  Op op = Op::barrier;
  Path path = Path::local;
  Reason reason = Reason::ok;
  std::uint32_t session = 0;  ///< of those that record here, in the order in which they committed

  friend bool operator==(const RecordedCall&, const RecordedCall&) = default;
};

/// The first calls of one rank, up to a bound; later ones are only counted. Written by the rank's
/// own thread; must outlive the sessions that record into it.
class Timeline {
 public:
  static constexpr std::size_t kCallsDefault = 65536;

  /// Takes all its memory at once, some 56 bytes a call.
  explicit Timeline(std::size_t calls_max = kCallsDefault);

  void add(const RecordedCall& call) noexcept {
    if (calls_.size() == calls_.capacity()) {
      ++dropped_;
    } else {
      calls_.push_back(call);
    }
  }
  void clear() noexcept;
  /// A session begins to record here: the number that its calls carry.
  std::uint32_t begin_session() noexcept { return sessions_++; }

  std::span<const RecordedCall> calls() const noexcept { return calls_; }
  /// Calls that came when the timeline was full.
  std::uint64_t dropped() const noexcept { return dropped_; }
  /// Measured from when this was made until now: the longer ago, the more exact. At least 1 ms.
  double seconds_per_tick() const;

 private:
  std::vector<RecordedCall> calls_;  // its capacity is the bound
  std::uint64_t dropped_ = 0;
  std::uint32_t sessions_ = 0;
  std::uint64_t first_ticks_;
  std::int64_t first_ns_;  // of the steady clock
};

/// As long as it lives, sessions that this thread commits record their calls, until they end. They
/// share the timeline and its bound; each call says of which session it is.
class RecordCalls {
 public:
  explicit RecordCalls(Timeline& timeline) noexcept;
  ~RecordCalls();
  RecordCalls(const RecordCalls&) = delete;
  RecordCalls& operator=(const RecordCalls&) = delete;

 private:
  Timeline* previous_;
};

/// Where a session that this thread commits records its calls; null where nobody asked.
Timeline* timeline_of_thread() noexcept;

}  // namespace cohort::collectives
