#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/export.hpp>
#include <cohort/ids.hpp>
#include <cohort/layout.hpp>

namespace cohort {

/// Whether slots lie in symmetric memory. Off gives ordinary memory, and every call goes through
/// staging with reason `disabled`: for comparison and for finding faults.
enum class Symmetry : std::uint8_t { on, off };

/// One planned buffer: `depth` equal entries of at most `rows_max` x `row_elements` elements each.
struct SlotSpec {
  std::vector<GroupKind> groups;  ///< groups it may be used with; at least one
  DType dtype = DType::f32;
  std::size_t rows_max = 0;
  std::size_t row_elements = 0;
  std::uint32_t depth = 1;
};

/// A slot with its name and place. Offsets are from the start of every rank's arena.
struct PlannedSlot {
  std::string name;
  SlotSpec spec;
  std::size_t entry_bytes = 0;   ///< one entry, rounded up to the alignment
  std::size_t offset = 0;        ///< of entry 0; entry i lies at offset + i * entry_bytes
  std::uint32_t group_mask = 0;  ///< bit `GroupKind` is set for each group in `spec.groups`
};

struct PlanOptions {
  Symmetry symmetry = Symmetry::on;
  bool strict = false;      ///< any path but the promised one is an error on all ranks
  std::uint32_t lanes = 1;  ///< independent streams of collectives per group
};

/// The full list of buffers of a job: what `commit` allocates, and all it ever allocates.
///
/// SPMD: every rank declares the same slots in the same order with the same maxima; `commit`
/// checks it. Pure; offsets depend on the declarations alone.
class COHORT_EXPORT Plan {
 public:
  explicit Plan(Layout layout, const PlanOptions& options = {});

  /// Declares a slot. Local.
  /// Throws: Error{usage} naming the slot: no group, no name, a name twice, zero depth, a size
  /// that overflows.
  SlotId slot(std::string name, const SlotSpec& spec);

  const Layout& layout() const noexcept { return layout_; }
  const PlanOptions& options() const noexcept { return options_; }
  std::span<const PlannedSlot> slots() const noexcept { return slots_; }
  const PlannedSlot& slot(SlotId id) const { return slots_.at(id.index()); }
  /// Group kinds that any slot names, as bits.
  std::uint32_t group_mask() const noexcept;

 private:
  Layout layout_;
  PlanOptions options_;
  std::vector<PlannedSlot> slots_;
};

/// One line of a footprint: physical bytes per rank.
struct FootprintRow {
  enum class Kind : std::uint8_t { own, sync, scratch, staging, control };
  Kind kind = Kind::own;
  std::string name;               ///< the slot's name, or what the memory is for
  std::vector<GroupKind> groups;  ///< groups it serves
  std::size_t offset = 0;         ///< in the arena; 0 for control
  std::size_t bytes = 0;
};

/// Memory of a plan, known before the first byte is allocated.
struct Footprint {
  std::vector<FootprintRow> rows;
  std::size_t arena_bytes = 0;    ///< of every rank, rounded up to the granule
  std::size_t control_bytes = 0;  ///< of the control segment, charged to world rank 0
  std::size_t granule_bytes = 0;
  /// What `Session::measured_bytes` will return on that rank, within one granule.
  std::size_t planned_bytes(WorldRank rank) const noexcept {
    return arena_bytes + (rank.index() == 0 ? control_bytes : 0);
  }
};

/// The footprint of a plan on every rank. Local, pure.
COHORT_EXPORT Footprint footprint(const Plan& plan);

/// A table for people.
COHORT_EXPORT std::ostream& operator<<(std::ostream& stream, const Footprint& footprint);

}  // namespace cohort
