#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <cohort/export.hpp>
#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/placement.hpp>
#include <cohort/verdict.hpp>

namespace cohort {

/// Rows [first, first + count) of the batch.
struct RowRange {
  std::size_t first = 0;
  std::size_t count = 0;
  std::size_t end() const noexcept { return first + count; }
  friend bool operator==(const RowRange&, const RowRange&) = default;
};

/// How the rows of one step are spread over the ranks of a tp block: ragged, zeros included.
///
/// Rows are numbered through all replicas, their chunks and the slices of those, which is the order
/// of the tp ranks; so the rows of every rank in every placement are one range, and gathers over
/// `tp` leave them in that order. Equal on all ranks. Value type, pure.
class COHORT_EXPORT BatchRows {
 public:
  /// Every rank of a replica knows the replica's rows (decode, or no context parallelism); its
  /// chunks are equal parts of them, to one row.
  /// Throws: Error{usage} unless there is one count per replica.
  static BatchRows by_replica(const Layout& layout, std::span<const std::size_t> counts);

  /// Context-parallel prefill: one count per (replica, chunk), replica by replica.
  /// Throws: Error{usage} unless there are attn_dp x attn_cp counts.
  static BatchRows by_chunk(const Layout& layout, std::span<const std::size_t> counts);

  std::size_t total() const noexcept { return starts_.back(); }

  /// The placement that attention works in: {attn_dp} of rows by replica, {attn_dp, attn_cp} by
  /// chunk.
  Placement attention() const noexcept { return attention_; }

  /// The rows that `rank` holds in a placement; what it owes does not matter.
  /// Throws: Error{unsupported} for axes that are no prefix of (attn_dp, attn_cp, attn_tp).
  RowRange range(const Layout& layout, const Placement& placement, WorldRank rank) const;

  /// Whether these rows were counted for a layout with the same attention sizes.
  bool fits(const Layout& layout) const noexcept;

 private:
  BatchRows(const Layout& layout, std::span<const std::size_t> chunk_counts,
            const Placement& attention);
  std::uint32_t attn_dp_ = 1;
  std::uint32_t attn_cp_ = 1;
  Placement attention_;
  std::vector<std::size_t> starts_;  // of each tp rank's slice, and the end; (tp + 1)
};

/// What one step of a move does with the rows.
enum class StepKind : std::uint8_t { local_slice, all_reduce, all_gather, reduce_scatter };

/// Which of a layer's buffers holds a step's result: the one for the rows of the whole batch, or
/// the smaller one for a part of them.
enum class BufferRole : std::uint8_t { global, local };

/// One step of a move, the same on all ranks. `group` is empty for a local slice.
struct Step {
  StepKind kind = StepKind::local_slice;
  std::optional<GroupKind> group;
  Placement before;
  Placement after;
  BufferRole target = BufferRole::global;
  friend bool operator==(const Step&, const Step&) = default;
};

/// The steps that turn one placement into another.
struct Move {
  Placement from;
  Placement to;
  std::vector<Step> steps;
};

/// Plans the collectives that bring rows from one placement to another, with few rows moved and few
/// calls: gathers to all ranks run over `tp` and take each row from one rank only; a sum and a
/// gather become reduce-scatter and gather, a sum alone one all-reduce. Which steps there are
/// follows from the layout alone, never from the row counts, so ranks without rows take part in the
/// same calls. Local, pure. Throws: Error{usage} for a move that would lose a sum or add it up
/// twice, for a sum that cannot be owed (its ranks hold different rows), and for rows of another
/// layout; Error{unsupported} for a move that no sequence of these steps makes.
COHORT_EXPORT Move plan_move(const Layout& layout, const Placement& from, const Placement& to,
                             const BatchRows& rows);

/// {attn_dp, attn_cp} -> {attn_dp} over attn_cp, whatever the layout: K and V of a context-parallel
/// prefill. Chunk follows chunk; `ContextParallel::token_order` brings them into token order.
COHORT_EXPORT Move plan_context_gather(const Layout& layout, const BatchRows& rows);

/// A step as one rank executes it.
struct RankStep {
  std::optional<Op> op;  ///< the v-form only where counts differ; nothing for a local slice
  std::optional<GroupKind> group;
  GroupRank member;                 ///< this rank within the group
  RowRange input;                   ///< rows held before; the operand
  RowRange output;                  ///< rows held after
  std::vector<std::size_t> counts;  ///< rows by group rank: gathered from, or scattered to
  std::uint32_t group_size = 1;
  BufferRole target = BufferRole::global;
};

/// The steps of a move with this rank's rows filled in. Local, pure.
/// Throws: Error{usage} for a rank outside the world and for rows of another layout.
COHORT_EXPORT std::vector<RankStep> steps_on(const Layout& layout, const Move& move,
                                             const BatchRows& rows, WorldRank rank);

/// Bytes that a rank must read from its peers in a step of rows `row_bytes` wide, reductions done
/// in parts: all-reduce 2 (P - 1) / P operands, reduce-scatter P - 1 parts, all-gather all but the
/// own part. Local, pure.
COHORT_EXPORT std::size_t bytes_from_peers(const RankStep& step, std::size_t row_bytes) noexcept;

}  // namespace cohort
