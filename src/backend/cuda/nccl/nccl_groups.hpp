#pragma once

// NCCL communicators of planned groups, with the arena as window of each of them.
//
// NCCL's own set-up waits for peers without a deadline, so communicators are non-blocking: what was
// begun is polled under our deadline, with an eye on the domain's fault, and aborted if it does not
// come to an end. What each version promises is in docs/decisions/0019-nccl-behind-one-header.md.
//
// Invariants:
//   1. Windows are registered communicator by communicator in the order of the list that all ranks
//      hold, so at most one registration of a rank is pending. NCCL's abort of one communicator may
//      wait for another that is pending in the same group call.
//   2. The windows of a communicator are the segments of the arena, in order, each once.
//   3. Nothing collective runs in the destructor: what `close` has not ended is aborted.
// Thread safety: one thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/error.hpp>
#include <cohort/ids.hpp>

#include "backend/cuda/nccl/abi.hpp"
#include "backend/cuda/nccl/nccl_survey.hpp"
#include "backend/cuda/nccl/version.hpp"
#include "backend/host/domain.hpp"

namespace cohort::cuda {

/// A group as all ranks list it, its members or not.
struct NcclGroupSpec {
  std::string name;
  std::vector<WorldRank> ranks;  ///< by group rank
};

/// A piece of this rank's arena: one allocation, of the same size on all ranks.
struct NcclSegment {
  Address address = 0;
  std::uint64_t bytes = 0;
};

struct NcclOptions {
  std::uint32_t device = 0;
  std::string device_name;  ///< the same text for the same device in every process
  host::Domain::TimePoint deadline;
  std::string phase = "commit";
  /// Within an attempt of the domain a failure must not poison: it is thrown, and whoever attempts
  /// aborts the attempt. Otherwise it becomes the job's fault at once.
  bool in_attempt = false;
};

class NcclGroups {
 public:
  using TimePoint = host::Domain::TimePoint;

  /// Connects every group and registers the arena on each. Collective over the domain. `api` is
  /// null where the plugin has no NCCL. What NCCL cannot do is no error: `support` and `path` say.
  /// Throws: Error{timeout} past the deadline, Error{nccl} with what NCCL says, the job's fault.
  static std::unique_ptr<NcclGroups> establish(host::Domain& domain, const nccl::Api* api,
                                               std::vector<NcclGroupSpec> groups,
                                               std::span<const NcclSegment> arena,
                                               const NcclOptions& options);
  /// Local. Takes about a second if something has to be aborted.
  ~NcclGroups();
  NcclGroups(const NcclGroups&) = delete;
  NcclGroups& operator=(const NcclGroups&) = delete;

  const NcclSupport& support() const noexcept { return support_; }
  /// Why a group of the list has no communicator, or empty. Equal on all ranks.
  const std::string& refusal(std::size_t group) const { return entries_[group].refusal; }
  /// Device memory that NCCL took so far, as the device tells: only right while nobody else takes
  /// any.
  std::uint64_t device_bytes() const noexcept { return device_bytes_; }
  /// Of each member's arena.
  std::size_t segment_count() const noexcept { return segments_.size(); }

  /// Registers segments behind those that are there. Collective over the domain.
  void extend(std::span<const NcclSegment> added, TimePoint deadline, bool in_attempt);
  /// Gives windows back until `kept` segments are left. Local; no kernel may use them any more.
  void shrink_to(std::size_t kept);

  /// Which way a call goes; equal on all ranks if `in_window` is.
  nccl::PathAnswer path(std::size_t group, nccl::PathQuery query) const;
  /// Whether `bytes` from `address` lie in one window.
  bool is_in_window(Address address, std::uint64_t bytes) const noexcept;

  /// Runs the call, of its largest count and of ever smaller ones, on the default stream, so that
  /// nothing of it is connected or loaded later. Collective over the group.
  void warm(std::size_t group, nccl::Call call, TimePoint deadline);
  /// Puts a call into its stream, or into the graph that is captured there. Requires: this rank is
  /// a member; the call's header step is in the stream: a kernel of ours that compares hashes and
  /// ends before dependents begin, which below 2.30.7 is also what symmetric kernels need in front
  /// of them. `captured`: the call goes into a graph. Cost: some 20 us for NCCL's own thread;
  /// nothing in a replay.
  void run(std::size_t group, const nccl::Call& call, bool captured = false);

  /// Ends all communicators in order, once calls outside graphs have ended. Collective over the
  /// domain.
  void close(TimePoint deadline);

 private:
  struct Entry {
    NcclGroupSpec spec;
    std::string refusal;
    std::optional<std::uint32_t> self;  ///< group rank, if a member
    nccl::Communicator* communicator = nullptr;
    bool pending = false;
  };

  NcclGroups(host::Domain& domain, const nccl::Api* api, std::vector<NcclGroupSpec> groups,
             const NcclOptions& options);
  void survey();
  std::vector<nccl::UniqueId> exchange_ids();
  void join(const std::vector<nccl::UniqueId>& ids);
  void add_windows(Entry& entry, std::span<const NcclSegment> added);
  void settle(std::string_view what);
  void agree_on_windows(bool complete);
  bool poll(Status& failure) noexcept;
  [[noreturn]] void fail(const std::string& what, const Status& status);
  void end(bool abort) noexcept;
  void await_marks();
  std::uint64_t free_bytes() const;
  Entry& member(std::size_t group);

  host::Domain& domain_;
  const nccl::Api* api_;
  NcclOptions options_;
  NcclSupport support_;
  std::vector<NcclFacts> facts_;
  std::vector<Entry> entries_;
  std::vector<NcclSegment> segments_;
  std::uint64_t device_bytes_ = 0;
};

}  // namespace cohort::cuda
