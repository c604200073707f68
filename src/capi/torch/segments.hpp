#pragma once

// The segments that PyTorch holds: which block of which group's pool each is, and what was freed
// but not given back yet.
//
// Invariants:
//   1. What happens to a pool depends on the order of `allocate`, `collect` and `forget` on this
//      rank, and on which segments were freed before each `collect`; not on when, in which order,
//      or from which thread.
//   2. The C interface is never called under the lock: allocating may wait for ranks that are other
//      threads of this process.
// Thread safety: `note_free` from any thread; the rest one thread at a time for each session.

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include <cohort/cohort_torch.h>

namespace cohort::torch {

class Segments {
 public:
  /// Of the process, and never destroyed: PyTorch frees segments while the process ends.
  static Segments& instance();

  /// Null, and a failure of this thread, if there is none to be had.
  void* allocate(cohort_session session, std::uint32_t kind, std::size_t bytes, int device,
                 void* stream);
  void note_free(void* data) noexcept;
  int collect(cohort_session session);
  int forget(cohort_session session);
  cohort_torch_use use_of(cohort_session session, std::uint32_t kind) const;

 private:
  using GroupKey = std::pair<cohort_session, std::uint32_t>;
  struct Segment {
    GroupKey group{};
    std::size_t bytes = 0;
    std::uint64_t serial = 0;
    int device = -1;
    void* stream = nullptr;
    bool is_block = true;  ///< of the group's scope; else the driver's memory
    bool is_symmetric = true;
    bool is_freed = false;
  };
  using SegmentAt = std::pair<void*, Segment>;

  cohort_scope scope_of(GroupKey group);
  void* add(void* data, Segment segment);
  std::vector<SegmentAt> freed_of(cohort_session session) const;
  static int await_streams(const std::vector<SegmentAt>& freed);
  int give_back(const std::vector<SegmentAt>& freed);
  int give_back(const SegmentAt& segment);

  mutable std::mutex mutex_;
  std::map<GroupKey, cohort_scope> scopes_;
  std::unordered_map<void*, Segment> segments_;
  std::uint64_t serial_ = 0;
};

}  // namespace cohort::torch
