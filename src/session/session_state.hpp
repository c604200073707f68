#pragma once

// A committed generation on one rank: the arena, the rings, and the executor over them.
//
// Invariants:
//   1. Built only by `commit`, and only handed out once the generation is committed.
//   2. After `seal` nothing is allocated, mapped or registered until `close`.
// Thread safety: one thread per rank.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <cohort/plan.hpp>
#include <cohort/session.hpp>
#include <cohort/world.hpp>

#include "backend/backend.hpp"
#include "backend/host/domain.hpp"
#include "collectives/executor.hpp"
#include "heap/arena_layout.hpp"
#include "heap/heap_view.hpp"
#include "heap/pools.hpp"
#include "heap/slot_rings.hpp"
#include "session/session_memory.hpp"

namespace cohort {

/// What a session shares with its scopes, which may outlive it.
struct ScopeContext {
  ScopeContext(const Plan& plan, const heap::ArenaLayout& layout, std::byte* slots,
               std::size_t reader_count)
      : pools(plan, layout, slots, reader_count) {}
  heap::Pools pools;
  SessionState* session = nullptr;  ///< none once the session is gone
};

class SessionState final : public host::CallHistory {
 public:
  SessionState(host::Domain& domain, const Plan& plan, std::uint32_t generation);
  ~SessionState() override;
  SessionState(const SessionState&) = delete;
  SessionState& operator=(const SessionState&) = delete;

  // --- the steps of commit, in order ----------------------------------------------------------

  /// Settles how paths are chosen, by what all ranks have agreed on.
  void choose_paths(bool crowded) noexcept { crowded_ = crowded; }
  /// Finds the memory that the plan asks for. Local. Throws: Error{usage, unsupported, cuda}.
  void open_memory(const CommitOptions& options);
  /// Agrees with the other ranks on what calls in that memory depend on. Collective.
  void agree_on_memory(host::Domain::TimePoint deadline) { memory_->agree(plan_, deadline); }
  /// Takes this rank's memory from the system. Local. Throws: Error{out_of_memory, system}.
  void allocate() { allocate(memory_->backend()); }
  /// The same, from another backend of host memory.
  void allocate(Backend& backend);
  /// Calls that count as made before the first one; tests begin near the wrap. Before `map_peers`.
  void set_first_sequence(std::uint64_t sequence) noexcept { first_sequence_ = sequence; }
  /// Writes this rank's synchronisation words, then maps every peer's arena. Collective.
  void map_peers(host::Domain::TimePoint deadline);
  /// Connects NCCL where the plan asks for it. Collective. What it cannot do, `refuse_without_nccl`
  /// throws once all ranks know, and on all of them.
  void connect_nccl(host::Domain::TimePoint deadline);
  /// Throws: Error{unsupported} with the rank and its reason.
  void refuse_without_nccl() const;
  /// Runs every slot's path once at its maximum and checks what arrives. Collective.
  void prove_slots();
  /// From here on the session only moves data.
  void seal() noexcept;

  // --- steady steps -----------------------------------------------------------------------------

  Group group(GroupKind kind);
  Buffer take(SlotId slot);
  Lease lease(SlotId slot);
  /// See Session. `lease` is the caller's as before if it throws.
  void give_to_graph(Lease& lease, Stream stream);
  Buffer entry(heap::EntryId id) const;
  Scope scope(GroupKind group, Symmetry symmetry);
  /// A block for a scope; waits until peers have finished with its bytes.
  heap::BlockId allocate_block(GroupKind group, Symmetry symmetry, std::size_t bytes,
                               heap::Pools::ScopeNumber scope);
  bool is_symmetric(const void* data, std::size_t bytes, GroupKind group) const noexcept;
  PoolUse pool_use(PoolId pool) const;
  /// Collective.
  void verify(std::chrono::milliseconds limit);
  PathChoice explain(GroupKind kind, Op op, DType dtype, std::size_t bytes) const;
  Verdict run(GroupKind kind, const collectives::Call& call);
  void move(std::span<const LocalMove> moves, Stream stream);
  void rms_norm(ConstTensor input, const RmsNorm& norm, Stream stream);
  void wait(Stream stream);

  const Plan& plan() const noexcept { return plan_; }
  const PathTable& path_table() const { return memory_->table_of(plan_); }
  std::uint32_t generation() const noexcept { return generation_; }
  std::uint64_t registrations_since_commit() const noexcept;
  std::size_t measured_bytes() const;
  std::vector<LedgerRow> ledger() const;
  std::chrono::milliseconds setup_limit() const noexcept { return domain_->limits().setup; }

  /// See Session. Collective.
  void recommit(const Plan& next, std::chrono::milliseconds limit);
  Footprint footprint() const;
  Footprint footprint(const Plan& next) const;

  /// Collective; local if the job has failed.
  void close(std::chrono::milliseconds limit);

  std::string last_calls_of(WorldRank rank) const override;

 private:
  friend class Lease;

  void await_dropped(const PlannedSlot& slot, const heap::LeaseTurn& turn, std::size_t offset);
  /// Whether this rank's own lease is over; waits for that if it belongs to a graph.
  bool await_own_dropped(const std::string& name, std::size_t offset, std::uint64_t last);
  /// `what` goes into the timeout, in front of the rank's number.
  void await_dropped_by(WorldRank rank, const std::string& what, std::size_t offset,
                        std::uint64_t last);
  void note_dropped(std::size_t word_offset, std::uint64_t use) noexcept;
  std::atomic<std::uint64_t>& lease_word(WorldRank rank, std::size_t offset) const noexcept {
    const Arena& words = host_words_ ? *host_words_ : *arena_;
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(words.of(rank) + offset);
  }
  void check_slot(SlotId slot) const;
  std::string lost_messages(host::Domain::TimePoint deadline);
  void release_leases() noexcept;

  struct Next;  // a generation in the making

  heap::ArenaLayout layout_after(const Plan& next) const;
  void make_next(const Plan& plan, Next& next, host::Domain::TimePoint deadline);
  void extend(Next& next);
  void map_next(Next& next, host::Domain::TimePoint deadline);
  void stamp_new_slots(const Next& next) const;
  void check_new_slots(const Next& next) const;
  void check_new_pools(const Next& next) const;
  bool is_new(std::uint32_t slot, const Next& next) const;
  bool is_new_pool(std::size_t pool, const Next& next) const;
  void drop_extension(std::uint64_t strays) noexcept;
  void replace(Next& next) noexcept;
  std::byte* slots() const noexcept {
    return private_slots_ ? private_slots_->local() : arena_->local();
  }

  std::uint64_t registrations() const noexcept;
  void end_calls() noexcept;
  void tell_of_dropping() noexcept;
  std::vector<std::uint32_t> nodes_of_ranks(host::Domain::TimePoint deadline) const;
  void prove_entry(GroupKind kind, heap::EntryId entry);
  [[noreturn]] void throw_no_room(GroupKind group, std::size_t bytes) const;
  [[noreturn]] void throw_over_budget(GroupKind group, std::size_t bytes) const;
  void prove_pool(GroupKind kind, std::uint32_t pool);
  void prove_operand(GroupKind kind, void* data, std::size_t bytes, std::uint32_t number,
                     const std::string& what);
  void check_open() const;
  void check_held(const PlannedSlot& slot) const;

  host::Domain* domain_;
  Layout groups_;  // of every generation; groups handed out refer to it
  Plan plan_;
  std::uint32_t generation_;
  std::uint32_t stage_;               // of the pipeline, of this rank
  std::vector<std::uint32_t> nodes_;  // memory node of each rank, as all of them know it
  heap::ArenaLayout layout_;
  std::unique_ptr<SessionMemory> memory_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<Arena> host_words_;     // of plans in GPU memory
  std::unique_ptr<Arena> private_slots_;  // with Symmetry::off: never mapped by a peer
  std::unique_ptr<heap::HeapView> view_;
  std::unique_ptr<heap::SlotRings> rings_;
  std::shared_ptr<ScopeContext> scopes_;
  std::unique_ptr<collectives::Executor> executor_;
  std::uint64_t first_sequence_ = 0;
  std::uint64_t registrations_at_commit_ = 0;
  std::shared_ptr<Lease::Anchor> anchor_;  // what leases know this session by
  bool crowded_ = false;                   // the host has more ranks than CPUs
  bool sealed_ = false;
  bool closed_ = false;
};

}  // namespace cohort
