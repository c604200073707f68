#pragma once

// Runs collectives over GPU memory: checks a call, makes it the kernels of its path, and puts them
// into the call's stream. Invariants:
//   1. Nobody touches another rank's operands: peers push into scratch, owners read theirs in
//      stream order. So entries are free as soon as the stream has come so far, and `settle` never
//      waits.
//   2. What all members must do alike (path, grid, hash) is a function of what they have agreed on.
//   3. Sequences, tallies and scratch live on the device: replays of graphs count.
//   4. Channels that a recommit replaces get its generation: a replay that was captured on one of
//      them is a fault, since peers may not be there to meet it.
//   5. A call that all members refuse launches nothing, and all get the error of the lowest. If any
//      has launched it, those that refused stand in for themselves: kernels that push what is no
//      result and take what comes, so that sequences and scratch stay in step. The others are told
//      by their next call, which is made all the same, or by `wait`.
// Thread safety: one thread per rank; `error_of` from any.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <cohort/plan.hpp>

#include "backend/backend.hpp"
#include "backend/cuda/device.hpp"
#include "backend/host/domain.hpp"
#include "collectives/channel_index.hpp"
#include "collectives/cuda/channel_notes.hpp"
#include "collectives/cuda/fault_watch.hpp"
#include "collectives/cuda/launch_plan.hpp"
#include "collectives/cuda/made_calls.hpp"
#include "collectives/cuda/nccl_calls.hpp"
#include "collectives/executor.hpp"
#include "collectives/ledger.hpp"
#include "heap/arena_layout.hpp"
#include "heap/heap_view.hpp"

namespace cohort::cuda {

struct CudaExecutorOptions {
  std::uint32_t generation = 1;
  std::uint64_t first_sequence = 0;  ///< calls counted as done; tests start near the wrap
  bool crowded = false;
  /// Channels in this first part of the arena go on from `previous`.
  std::size_t kept_bytes = 0;
  GridLimits limits;
  PathTable table{};  ///< that says paths and grids: the plan's, or the one shipped for its GPUs
  PathTable own_table{};  ///< names no path of NCCL
  const heap::Pools* pools = nullptr;
  NcclCalls* nccl = nullptr;  ///< of plans that ask for it; outlives all executors
};

/// What outlives an executor, and is the session's.
struct CudaRank {
  host::Domain& domain;
  OpenDevice& device;
  FaultWatch& watch;
  const Arena& arena;
  const Arena& host_words;
};

class CudaExecutor final : public collectives::Executor, public FaultReader {
 public:
  /// Writes this rank's words and scratch into its arena.
  CudaExecutor(const CudaRank& rank, const Plan& plan, const heap::ArenaLayout& layout,
               std::byte* slots, const CudaExecutor* previous, const CudaExecutorOptions& options);
  ~CudaExecutor() override;
  CudaExecutor(const CudaExecutor&) = delete;
  CudaExecutor& operator=(const CudaExecutor&) = delete;

  void attach() override;
  PathChoice settled(GroupKind kind, Op op, DType dtype, std::size_t bytes,
                     PathChoice choice) const override;
  Verdict run(GroupKind kind, const collectives::Call& call) override;
  void move(std::span<const LocalMove> moves, void* stream) override;
  void norm(ConstTensor input, const RmsNorm& norm, void* stream) override;
  void settle(heap::EntryId /*entry*/) override {}
  void settle(heap::BlockId /*block*/) override {}
  void check_idle() override;
  std::vector<std::string> lost_messages() override { return {}; }
  void wait(void* stream) override;
  bool quiesce(Arena::TimePoint deadline) noexcept override;
  void inherit_ledger(const collectives::Executor& previous) override;
  void append_ledger(std::vector<LedgerRow>& rows) const override;
  void clear_ledger() override;

  Error error_of(const FaultRecord& record) const override;

 private:
  struct Channel {
    heap::ChannelRegion region;
    collectives::ChannelIdentity identity;
    std::span<const WorldRank> ranks;
    std::uint32_t self = 0;
    KernelCall base = {};                               ///< what all its calls have in common
    std::atomic<std::uint64_t>* calls_begun = nullptr;  ///< for health
    std::vector<ChannelNotes*> notes;                   ///< by member, once peers are mapped
    /// By member: of its ChannelNotes::lone_refusals, how many this rank's caller knows of.
    std::vector<std::uint64_t> refusals_told;
    std::uint64_t refused = 0;  ///< by this rank
    /// This rank's, of channels that this one stands in for: what stale graphs have captured.
    std::vector<const ChannelNotes*> retired_notes;
    /// At least so many calls have been begun outside graphs, counted as the device does.
    std::uint64_t launched = 0;
    collectives::Ledger ledger;  ///< what the tallies do not hold
    MadeCalls kept;
  };

  std::uint32_t size_of(const Channel& channel) const noexcept {
    return channel.base.members.count;
  }
  void open(const heap::ChannelRegion& region, const CudaExecutor* previous,
            const CudaExecutorOptions& options);
  void initialise(const Channel& channel, std::uint64_t sequence) const;
  /// What the table says, and what became of it.
  struct Choice {
    PathChoice taken;
    bool missed = false;       ///< NCCL was to take the call and does not
    bool by_operands = false;  ///< because of where this rank's operands lie
  };
  PathChoice own_choice(const PathTable& table, std::uint32_t size, Op op, DType dtype,
                        std::size_t bytes) const noexcept;
  PathChoice counted_choice(std::uint32_t size) const noexcept;
  Choice choice_of(const Channel& channel, const collectives::Call& call) const;
  void throw_if_strict_forbids(Channel& channel, const collectives::Call& call, Choice choice);
  std::optional<std::string> find_fault(const Channel& channel, const collectives::Call& call,
                                        const KernelCall& kernel) const;
  KernelCall kernel_of(const Channel& channel, const collectives::Call& call);
  void launch(Channel& channel, const collectives::Call& call, const KernelCall& whole,
              Choice choice, bool captured);
  /// A call that has been made before and needs nothing else. Null if it must be looked at anew.
  MadeCall* find_made(Channel& channel, const collectives::Call& call);
  Verdict launch_again(Channel& channel, MadeCall& made, void* stream);
  std::uint64_t pools_changed() const noexcept { return pools_ == nullptr ? 0 : pools_->changes(); }
  /// Over everything that all members must state alike, places in the arena too where NCCL takes
  /// them for the same on all members.
  std::uint64_t hash_of(const Channel& channel, const collectives::Call& call, Path path) const;
  NcclRoute nccl_route_of(const Channel& channel, const collectives::Call& call, Path wanted) const;
  void run_on_nccl(const Channel& channel, const collectives::Call& call, bool captured);
  void run_local(Channel& channel, const collectives::Call& call);
  void announce(Channel& channel, const collectives::CallRecord& record, Made made) noexcept;
  [[noreturn]] void refuse(Channel& channel, const collectives::Call& call, const std::string& why);
  void await_made(const Channel& channel, std::uint32_t member, std::uint64_t call,
                  const collectives::Call& what);
  std::optional<std::string> obstacle_to_standing_in(
      const Channel& channel, const collectives::Call& refused, std::uint32_t member,
      const std::optional<NumberedCall::Seen>& made) const;
  void launch_stand_ins(Channel& channel, const collectives::Call& call, Path path);
  void throw_refusal(Channel& channel, std::string_view phase);
  void check(std::string_view phase);
  std::string lone_refusals(const Channel& channel) const;
  bool is_captured(void* stream) const;
  std::uint64_t counter_of(const Channel& channel, std::uint32_t member) const;
  const Channel* find(std::uint32_t name) const noexcept;
  std::string describe(const Channel& channel, std::uint64_t hash, std::uint32_t member) const;
  std::string misplaced(const Channel& channel, const FaultRecord& record) const;
  Reason tallied_reason(Path path) const noexcept;
  Error stale_error(const FaultRecord& record) const;
  void retire(const Channel& channel, std::uint32_t generation) const noexcept;
  void add_tallies(const Channel& channel, collectives::Ledger& ledger) const;

  CudaRank rank_;
  std::shared_ptr<const Plan> plan_;
  heap::HeapView view_;
  std::vector<heap::ChannelRegion> regions_;  // of all groups and lanes of the plan
  const heap::Pools* pools_;
  PathTable table_;
  PathTable own_table_;  // for what NCCL does not take
  GridLimits limits_;    // with that table
  bool crowded_;
  NcclCalls* nccl_;
  std::uint32_t generation_;
  bool is_first_;  // else another one reads fault records until this one inherits its ledger
  std::vector<std::unique_ptr<Channel>> channels_;  // by (kind, lane)
  collectives::ChannelIndex channel_index_;
  std::vector<std::uint64_t> counts_;         // of the call in hand, in bytes
  std::vector<std::uint64_t> window_counts_;  // of a window of it
};

}  // namespace cohort::cuda
