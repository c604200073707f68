#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/export.hpp>
#include <cohort/group.hpp>
#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/ledger.hpp>
#include <cohort/local_move.hpp>
#include <cohort/plan.hpp>
#include <cohort/rms_norm.hpp>
#include <cohort/stream.hpp>
#include <cohort/tensor.hpp>
#include <cohort/verdict.hpp>
#include <cohort/world.hpp>

namespace cohort {

/// One entry of a slot's ring, or one block of a scope, taken by this rank and its twins on all
/// ranks. A handle: cheap to copy, owns nothing.
class COHORT_EXPORT Buffer {
 public:
  Buffer() = default;
  /// Whether it came from a scope. Then it has no slot, and nobody may use it after its release.
  bool is_block() const noexcept { return block_serial_ != 0; }
  SlotId slot() const noexcept { return slot_; }
  std::uint32_t entry() const noexcept { return entry_; }
  DType dtype() const noexcept { return dtype_; }
  std::size_t rows_max() const noexcept { return rows_max_; }
  std::size_t row_elements() const noexcept { return row_elements_; }
  void* data() const noexcept { return data_; }
  template <typename T>
  T* as() const noexcept {
    return static_cast<T*>(data_);
  }
  /// Rows [first, first + count) as an operand. Local.
  /// Throws: Error{usage} if the entry or block has fewer rows.
  Tensor rows(std::size_t first, std::size_t count) const;
  /// The first `count` elements, whatever the row width. Throws: Error{usage} past the end.
  Tensor elements(std::size_t count) const;

 private:
  friend class Scope;
  friend class SessionState;
  void* data_ = nullptr;
  std::size_t rows_max_ = 0;
  std::size_t row_elements_ = 0;
  SlotId slot_;
  std::uint32_t entry_ = 0;
  std::uint32_t block_pool_ = 0;
  std::uint32_t block_piece_ = 0;
  std::uint64_t block_serial_ = 0;
  DType dtype_ = DType::f32;
};

/// What the blocks of a pool take and took on this rank.
struct PoolUse {
  std::size_t bytes = 0;                 ///< the budget
  std::size_t live_bytes = 0;            ///< of it, in live blocks
  std::size_t peak_bytes = 0;            ///< the most that was live at once
  std::uint64_t live_blocks = 0;         ///< in the budget
  std::uint64_t over_budget_blocks = 0;  ///< allocated in ordinary memory so far
  std::uint64_t over_budget_bytes = 0;   ///< of all of these
};

struct ScopeContext;
class SessionState;

/// An entry held for long, e.g. by a captured graph (`Session::give_to_graph`); `take` never yields
/// it. Move-only. Dropping it is local and communicates nothing: the ranks that take the entry next
/// see it in shared memory. May outlive its session; it then owns nothing any more.
class COHORT_EXPORT Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  /// Valid until the lease is dropped and as long as the session lives, recommits included.
  const Buffer& buffer() const noexcept { return buffer_; }
  bool held() const noexcept { return anchor_ != nullptr; }
  /// Gives the entry back. By the rank's own thread. Local.
  void drop() noexcept;

 private:
  friend class SessionState;
  struct Anchor;
  std::shared_ptr<Anchor> anchor_;
  Buffer buffer_;
  std::size_t word_offset_ = 0;  // in the arena: where this rank says what it has dropped
  std::uint64_t use_ = 0;
};

/// Memory for the collectives of one group, allocated as a program goes along: the dynamic form of
/// a slot. Blocks come from the budget that the plan's pool reserves for the group, so nothing is
/// registered, mapped or grown.
///
/// SPMD: all ranks allocate and release the same bytes in the same order, in scopes of the same
/// groups, ranks without rows too; then a block lies at the same offset on all of them.
/// `Session::verify` tells when they did not. Scopes nest. The end of a scope, its destructor
/// included, is local and never communicates; what peers still read is waited for by whoever is
/// next given the bytes. Move-only; may outlive its session, but then only to be destroyed.
class COHORT_EXPORT Scope {
 public:
  Scope(Scope&&) noexcept;
  Scope& operator=(Scope&&) noexcept;
  /// Releases what is left, the last block first. Local.
  ~Scope();

  /// A block of at most `rows` x `row_elements` elements for calls on the scope's group, aligned to
  /// 256 bytes; 0 rows are fine. Over the pool's budget, and with `Symmetry::off`, it lies in
  /// ordinary memory: calls with it are staged on all ranks, with reason `over_budget` or
  /// `disabled`, and refused on all ranks if it is too large to stage. Where a call's operand has
  /// no rows on this rank, pass the block's `rows(0, 0)`, which tells the path to take.
  /// Local, but waits until no peer reads the bytes any more.
  /// Throws: Error{strict_miss} naming pool, group and bytes, on all ranks, for a block over budget
  /// of a strict plan; Error{usage} of a scope that was moved from, or whose session is closed;
  /// Error{timeout, peer_failed}; Error{out_of_memory} for ordinary memory.
  /// Bytes of a block that was sent are free only once they are received: receive into a block that
  /// was allocated before that one was released, or both sides may wait until the deadline.
  /// Cost: without a wait the same few steps whatever the number of blocks; takes no memory from
  /// the system unless there are more pieces than ever before, or for ordinary memory.
  Buffer allocate(DType dtype, std::size_t rows, std::size_t row_elements);

  /// Gives a block back before the scope ends. Local.
  /// Throws: Error{usage} for what is no live block of this scope.
  void release(const Buffer& block);

  GroupKind group() const noexcept { return group_; }
  Symmetry symmetry() const noexcept { return symmetry_; }

 private:
  friend class SessionState;
  Scope(std::shared_ptr<ScopeContext> context, GroupKind group, Symmetry symmetry);
  void end() noexcept;

  std::shared_ptr<ScopeContext> context_;  // none once moved from
  std::uint32_t number_ = 0;
  GroupKind group_;
  Symmetry symmetry_;
};

/// What a rank says about itself at commit; may differ from rank to rank.
struct CommitOptions {
  /// The CUDA device of this rank, as its process counts them. Without one: the rank modulo the
  /// number of devices. The environment variable COHORT_DEVICE goes before both.
  std::optional<std::uint32_t> device = std::nullopt;
};

/// A committed plan, sealed: nothing is allocated, registered or grown until `close`. Move-only.
class COHORT_EXPORT Session {
 public:
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  /// Without `close`: frees local memory only, says so once, and peers see this rank as failed.
  ~Session();

  /// This rank's instance of a group kind. Local.
  /// Throws: Error{usage} if no slot that this rank holds, and no pool or `send_recv`, names the
  /// kind, or the rank is in none
  /// (`leaders`).
  Group group(GroupKind kind) const;

  /// The next entry of a slot's ring; waits until every member of its last use has finished with
  /// it, before the caller may write. SPMD: all ranks that hold a slot take its entries equally
  /// often. Throws: Error{usage} for a slot of another pipeline stage, Error{timeout, peer_failed}.
  Buffer take(SlotId slot);

  /// The next of the slot's entries for leases (`SlotSpec::leases`); waits until every rank of this
  /// rank's groups that the slot names has dropped the lease that last held the entry, and has
  /// finished with its uses. SPMD, as `take`.
  /// Throws: Error{usage} if this rank itself still holds that lease, or the slot has none;
  /// Error{timeout} naming the rank that holds on, Error{peer_failed}.
  Lease lease(SlotId slot);

  /// The graph that `stream` is being captured into owns the lease from here on, whoever drops
  /// which handle: the entry is given back once the graph, every graph made from it and all their
  /// launches are over, also if the capture fails. Ranks may destroy their graphs at different
  /// times; who takes the lease next waits. The graph may outlive the session, but must not be
  /// launched then. Local. Throws: Error{usage} if the stream is not being captured, on host
  /// memory, and for a lease that was dropped or is of another session; it stays the caller's then.
  void give_to_graph(Lease&& lease, Stream stream);

  /// Opens a scope: blocks for calls on `group`, from the pool that serves it. Local.
  /// Throws: Error{usage} if no pool of the plan serves the group; with `Symmetry::off`, if the
  /// plan does not name it.
  Scope scope(GroupKind group, Symmetry symmetry = Symmetry::on);

  /// Whether an operand lies where all members of `group` expect it: within one entry or live block
  /// that is for this group and in symmetric memory. Local.
  bool is_symmetric(const void* data, std::size_t bytes, GroupKind group) const noexcept;

  /// What a pool's blocks take on this rank. Local. Throws: Error{usage} for a pool not in the
  /// plan.
  PoolUse pool_use(PoolId pool) const;

  /// Compares what the scopes of all ranks did since commit.
  /// Collective over all ranks. Throws: Error{mismatch} on all ranks with the first step in which
  /// they differ and who did what; Error{timeout, peer_failed}.
  void verify();
  void verify(std::chrono::milliseconds limit);

  /// Which path a call would take and why; equal on all ranks. Local, never blocks.
  PathChoice explain(GroupKind group, Op op, DType dtype, std::size_t bytes) const;

  /// Replaces the plan: the earlier slots in the same order, their specs changed or not, then new
  /// ones. All ranks or none. Slots whose spec is as it was keep address, offset, ring and pending
  /// uses, so buffers of them stay valid; changed and new slots get new memory behind the old,
  /// which is never given back. Until all ranks have agreed the old plan serves, and if any of
  /// them cannot go on, it serves on: the world is not poisoned, unless a rank has died.
  /// Calls on buffers of changed slots are refused afterwards, on all members: take new ones. Every
  /// message sent must have been received. Collective over all ranks.
  /// Graphs captured before: a replay of a call on a group whose largest operand changed, or which
  /// the next plan does not name, ends the job with Error{usage}: capture it anew. Other calls are
  /// replayed as before, also on entries of changed slots, which stay the graph's own.
  /// Throws: Error{usage} for a plan that may not follow this one or does not fit into the reserved
  /// addresses, Error{mismatch} if the ranks' plans differ, Error{out_of_memory, system} of the
  /// failing rank on every rank, Error{timeout} naming the rank that did not come,
  /// Error{strict_miss}, Error{peer_failed}.
  void recommit(const Plan& next);
  void recommit(const Plan& next, std::chrono::milliseconds limit);

  /// The memory that this session holds, and what it would hold after `recommit(next)`. Local,
  /// pure. Throws, with `next`: Error{usage} if it may not follow.
  Footprint footprint() const;
  Footprint footprint(const Plan& next) const;

  /// As agreed last, with the offsets that slots really have. Changes with `recommit`.
  const Plan& plan() const noexcept;
  /// The table that paths and grids follow: the plan's, but where that is the built-in one and all
  /// ranks have GPUs that a table comes with cohort for, that one. Its `lines` say which. Local.
  const PathTable& path_table() const;
  std::uint32_t generation() const noexcept;
  /// Registrations, allocations or mappings since commit or the last recommit: always 0.
  std::uint64_t registrations_since_commit() const noexcept;
  /// Bytes the system holds for this rank: arena, and control segment on its creator. Local.
  std::size_t measured_bytes() const;
  std::vector<LedgerRow> ledger() const;

  /// Copies and zeroes within this rank's memory, in no particular order: no move may touch what
  /// another one stores to. On CUDA memory put into the stream, many moves in one launch, all of
  /// them within memory of the rank's device; on host memory done at once, without a stream. Local.
  /// Throws: Error{usage} for bytes without a place to go and for rows whose results overlap.
  void move(std::span<const LocalMove> moves, Stream stream = {});

  /// Norms rows of this rank, in the order of the stream. Local.
  /// Throws: Error{usage} for operands that do not fit each other, and on CUDA memory for what
  /// `RmsNorm` excludes there.
  void rms_norm(ConstTensor input, const RmsNorm& norm, Stream stream = {});

  /// Returns once everything in the stream has ended, and throws the job's fault if there is one:
  /// the way to consume results of calls on CUDA memory. Local; polls, and sees a peer's fault or
  /// death. Throws: Error{mismatch, timeout, peer_failed, cuda}; Error{timeout} if the stream has
  /// not ended within the steady and stall limits together, which ends the job; Error{usage} of
  /// another rank that refused a call which this one has made, in whatever stream, and on host
  /// memory.
  void wait(Stream stream);

  /// Ends the session in order; of a poisoned one it is local. On CUDA memory: wait for all streams
  /// that hold calls first. Collective over all ranks. Throws:
  /// Error{timeout, peer_failed}; Error{usage} if messages were not received: it is closed then.
  void close();
  void close(std::chrono::milliseconds limit);

 private:
  friend Session commit(World& world, const Plan& plan, const CommitOptions& options);
  explicit Session(std::unique_ptr<SessionState> state);
  std::unique_ptr<SessionState> state_;
};

/// Agrees on the plan, allocates and maps the arena, proves every slot: all ranks or none.
/// Collective over all ranks; `world` must outlive the session.
/// Throws: Error{mismatch} with the first differing entry and who has what, Error{out_of_memory,
/// system} of the failing rank on every rank, Error{timeout, peer_failed}, Error{usage} if the
/// layout's world size is not the world's; of CUDA plans Error{unsupported, cuda} too, if a rank
/// has no device, no plugin, or cannot reach a peer's memory.
COHORT_EXPORT Session commit(World& world, const Plan& plan, const CommitOptions& options = {});

}  // namespace cohort
