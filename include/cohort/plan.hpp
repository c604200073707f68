#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/export.hpp>
#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/memory.hpp>
#include <cohort/path_table.hpp>

namespace cohort {

/// Whether slots lie in symmetric memory. Off gives ordinary memory, and every call goes through
/// staging with reason `disabled`: for comparison and for finding faults.
enum class Symmetry : std::uint8_t { on, off };

/// Which calls may go to NCCL, where the path table names paths on it. Anything but `off` makes a
/// communicator for each planned group of two ranks or more and each lane, at commit.
enum class NcclUse : std::uint8_t {
  off,
  gathers,     ///< what moves bytes, and reductions of integers: the same bits as on own paths
  reductions,  ///< sums of floats too, in NCCL's order
};

/// One planned buffer: `depth` equal entries of at most `rows_max` x `row_elements` elements each.
struct SlotSpec {
  std::vector<GroupKind> groups;  ///< groups it may be used with; at least one
  DType dtype = DType::f32;
  std::size_t rows_max = 0;
  std::size_t row_elements = 0;
  std::uint32_t depth = 1;
  /// The one pipeline stage whose ranks hold it; without one, all ranks do. A slot of a stage may
  /// name only groups that lie within a stage.
  std::optional<std::uint32_t> stage = std::nullopt;
  /// Entries on top of `depth` that `Session::lease` hands out; `take` never yields them.
  std::uint32_t leases = 0;

  friend bool operator==(const SlotSpec&, const SlotSpec&) = default;
};

/// Messages between two members of a group, asked for with `Plan::send_recv`.
struct SendRecvSpec {
  /// Largest message whose operand lies outside the arena; never less than the largest entry of
  /// the slots that name the group.
  std::size_t staged_bytes_max = 0;
};

/// A group kind whose members may send to each other.
struct PlannedSendRecv {
  GroupKind kind = GroupKind::world;
  SendRecvSpec spec;
};

/// A slot with its name and place. Offsets are from the start of every rank's arena.
struct PlannedSlot {
  std::string name;
  SlotSpec spec;
  std::size_t entry_bytes = 0;   ///< one entry, rounded up to the alignment
  std::size_t offset = 0;        ///< of entry 0; entry i lies at offset + i * entry_bytes
  std::uint32_t group_mask = 0;  ///< bit `GroupKind` is set for each group in `spec.groups`

  /// Entries of the ring, then those for leases.
  std::uint32_t entries() const noexcept { return spec.depth + spec.leases; }
  std::size_t bytes() const noexcept { return entry_bytes * entries(); }
  /// Whether ranks of this pipeline stage hold it.
  bool exists_in(std::uint32_t stage) const noexcept { return !spec.stage || *spec.stage == stage; }
};

/// A group that a pool serves, and its largest block: staging rings of the group are as large.
struct PoolGroup {
  GroupKind kind = GroupKind::world;
  std::size_t block_bytes_max = 0;  ///< 0: that of the pool
  constexpr PoolGroup(GroupKind group, std::size_t bytes_max = 0)
      : kind(group), block_bytes_max(bytes_max) {}
  friend bool operator==(const PoolGroup&, const PoolGroup&) = default;
};

/// A budget that scopes allocate blocks from. Several groups may share it: a block serves one of
/// them, and once it is released another group may get the same bytes.
struct PoolSpec {
  std::vector<PoolGroup> groups;    ///< at least one; a group is served by one pool at most
  std::size_t bytes = 0;            ///< of all live blocks; 0 puts every block over budget
  std::size_t block_bytes_max = 0;  ///< of one block
};

/// A pool with its name.
struct PlannedPool {
  std::string name;
  PoolSpec spec;                 ///< with each group's largest block filled in
  std::size_t bytes = 0;         ///< the budget, rounded up to the alignment
  std::uint32_t group_mask = 0;  ///< bit `GroupKind` is set for each group in `spec.groups`
  /// The largest block for a group; 0 for groups that the pool does not serve.
  std::size_t block_bytes_max(GroupKind kind) const noexcept {
    for (const PoolGroup& group : spec.groups) {
      if (group.kind == kind) return group.block_bytes_max;
    }
    return 0;
  }
};

/// What holds for the whole plan; equal on all ranks.
struct PlanOptions {
  Symmetry symmetry = Symmetry::on;
  bool strict = false;      ///< any path but the promised one is an error on all ranks
  std::uint32_t lanes = 1;  ///< independent streams of collectives per group
  PathTable path_table{};   ///< which path each call takes; equal on all ranks
  /// Address range reserved for each rank's arena, so that `Session::recommit` can add to it
  /// without moving anything. Costs no memory. 0 takes four times the first plan, at least 1 GiB.
  std::size_t reserve_bytes = 0;
  /// Of slots, pools and scratch. On `cuda` operands may lie in any memory of the rank's device, in
  /// the arena or not, and the path is the same.
  Memory memory = Memory::host;
  /// On `cuda` only. The first communicator of a process takes 0.4 to 0.9 GB of the device.
  NcclUse nccl = NcclUse::off;

  friend bool operator==(const PlanOptions&, const PlanOptions&) = default;
};

/// The full list of buffers of a job: what `commit` allocates, and all it ever allocates.
///
/// SPMD: every rank declares the same slots and pools in the same order with the same maxima, those
/// of other pipeline stages included; `commit` checks it. Pure; offsets depend on the declarations
/// alone. Slots that all ranks hold come first in the arena, then the slots of each stage, over the
/// same offsets; pools, which all ranks hold, lie behind them.
class COHORT_EXPORT Plan {
 public:
  /// Throws: Error{usage}: lanes that are none or too many, a pinned path of other memory, NCCL on
  /// host memory, paths on NCCL in the table of a plan that leaves it off,
  /// symmetric memory switched off on CUDA, where no path reads operands of peers.
  explicit Plan(Layout layout, const PlanOptions& options = {});

  /// Declares a slot. Local.
  /// Throws: Error{usage} naming the slot: no group, no name, a name twice, zero depth, a size
  /// that overflows, a stage that does not exist, a slot of a stage for a group that crosses
  /// stages.
  SlotId slot(std::string name, const SlotSpec& spec);

  /// Plans memory for `Group::send` and `Group::recv` in groups of `kind`: for each lane and peer
  /// two headers with small operands, for each lane two copies of the largest operand. Local.
  /// Throws: Error{usage}: a kind twice, a size beyond any machine; Error{unsupported} on CUDA.
  void send_recv(GroupKind kind, const SendRecvSpec& spec = {});

  /// Reserves a budget for blocks of scopes. Local.
  /// Throws: Error{usage} naming the pool: no group, a group that another pool serves, no name, a
  /// name twice, no largest block, a size that overflows.
  PoolId pool(std::string name, const PoolSpec& spec);

  const Layout& layout() const noexcept { return layout_; }
  const PlanOptions& options() const noexcept { return options_; }
  std::span<const PlannedSlot> slots() const noexcept { return slots_; }
  const PlannedSlot& slot(SlotId id) const { return slots_.at(id.index()); }
  std::span<const PlannedSendRecv> send_recvs() const noexcept { return send_recvs_; }
  std::span<const PlannedPool> pools() const noexcept { return pools_; }
  const PlannedPool& pool(PoolId id) const { return pools_.at(id.index()); }
  /// The pool that serves a group; nothing if none does.
  std::optional<PoolId> pool_of(GroupKind kind) const noexcept;
  /// Group kinds that any slot, pool or `send_recv` names, as bits.
  std::uint32_t group_mask() const noexcept;
  /// Group kinds that any slot held by ranks of `stage`, or any `send_recv`, names, as bits.
  std::uint32_t group_mask(std::uint32_t stage) const noexcept;

 private:
  friend class SessionState;  // where slots lie once earlier plans count
  Layout layout_;
  PlanOptions options_;
  std::vector<PlannedSlot> slots_;
  std::vector<PlannedSendRecv> send_recvs_;
  std::vector<PlannedPool> pools_;
};

/// One line of a footprint: physical bytes per rank.
struct FootprintRow {
  enum class Kind : std::uint8_t {
    own,      ///< a slot
    pool,     ///< the budget of a pool
    sync,     ///< words that ranks watch
    scratch,  ///< headers and small operands
    staging,  ///< copies of operands from outside the arena
    padding,  ///< up to the largest stage, or to a whole page
    retired,  ///< held, but of no use any more: what `recommit` replaced
    control,  ///< in host memory: the control segment, and of CUDA plans leases and notes of calls
    nccl,     ///< what NCCL takes of the device for a communicator, as measured; not of the arena
  };
  Kind kind = Kind::own;
  std::string name;               ///< of the slot or pool, or what the memory is for
  std::vector<GroupKind> groups;  ///< groups it serves
  std::size_t offset = 0;         ///< in the arena; 0 for control
  std::size_t bytes = 0;
  std::optional<std::uint32_t> stage = std::nullopt;  ///< on ranks of this pipeline stage only
};

/// Memory of a plan, known before the first byte is allocated. Rows without a stage and those of
/// one stage, but those of kind `nccl` and `control`, add up to `arena_bytes`, whichever the stage.
struct Footprint {
  std::vector<FootprintRow> rows;
  std::size_t arena_bytes = 0;    ///< of every rank, rounded up to the granule
  std::size_t virtual_bytes = 0;  ///< address range reserved for it; every rank maps all ranks'
  /// The most that a rank's arena holds at any moment until the plan is agreed. Old memory serves
  /// until then and is never given back, so recommit needs no more than it leaves behind.
  std::size_t peak_bytes = 0;
  std::size_t control_bytes = 0;  ///< of the control segment, charged to world rank 0
  std::size_t host_bytes = 0;     ///< of every rank, beside an arena that is not host memory
  /// That NCCL takes of a rank's device beside the arena: as measured on one kind of device with
  /// one version, so no promise; 0 without NCCL.
  std::size_t nccl_bytes = 0;
  std::size_t granule_bytes = 0;
  /// What `Session::measured_bytes` will return on that rank, within one granule.
  std::size_t planned_bytes(WorldRank rank) const noexcept {
    return arena_bytes + host_bytes + (rank.index() == 0 ? control_bytes : 0);
  }
};

COHORT_EXPORT std::string_view to_string(NcclUse use) noexcept;

/// The footprint of a plan on every rank. Local, pure.
COHORT_EXPORT Footprint footprint(const Plan& plan);

/// A table for people.
COHORT_EXPORT std::ostream& operator<<(std::ostream& stream, const Footprint& footprint);

}  // namespace cohort
