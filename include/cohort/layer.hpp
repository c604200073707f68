#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cohort/export.hpp>
#include <cohort/ids.hpp>
#include <cohort/layout.hpp>
#include <cohort/verdict.hpp>

namespace cohort {

/// An axis along which the ranks of a tp block may hold different token rows.
enum class TokenAxis : std::uint8_t {
  attn_dp,  ///< each replica has rows of its own
  attn_cp,  ///< each context-parallel rank has a chunk of its replica's rows
  attn_tp,  ///< each attention tensor-parallel rank has a slice of its chunk
};

/// A set of token axes. Value type.
class AxisSet {
 public:
  constexpr AxisSet() = default;
  constexpr AxisSet(std::initializer_list<TokenAxis> axes) {
    for (const TokenAxis axis : axes) bits_ = static_cast<std::uint8_t>(bits_ | bit(axis));
  }
  constexpr bool contains(TokenAxis axis) const noexcept { return (bits_ & bit(axis)) != 0; }
  friend constexpr AxisSet operator|(AxisSet a, AxisSet b) noexcept {
    AxisSet both;
    both.bits_ = static_cast<std::uint8_t>(a.bits_ | b.bits_);
    return both;
  }
  friend constexpr bool operator==(AxisSet, AxisSet) = default;

 private:
  static constexpr std::uint8_t bit(TokenAxis axis) noexcept {
    return static_cast<std::uint8_t>(1u << static_cast<unsigned>(axis));
  }
  std::uint8_t bits_ = 0;
};

/// Which rows of a batch a rank holds, and whether they are finished.
///
/// `sharded_over`: ranks that differ along these axes hold different rows, all others the same
/// ones. {} is "every rank has all rows". `owes_sum`: the rows are only correct once they are added
/// up over that group.
struct Placement {
  AxisSet sharded_over;
  std::optional<GroupKind> owes_sum;
  friend bool operator==(const Placement&, const Placement&) = default;
};

/// The placement without what the layout makes meaningless: axes of one rank, sums over one rank;
/// sums over groups with equal ranks become one. Placements that mean the same compare equal then.
/// Local.
COHORT_EXPORT Placement normalized(const Layout& layout, const Placement& placement);

/// For messages, e.g. "{attn_dp, attn_cp} owing a sum over attn_tp".
COHORT_EXPORT std::string to_string(const Placement& placement);

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

  /// The rows that `rank` holds in a placement; what it owes does not matter.
  /// Throws: Error{unsupported} for axes that are no prefix of (attn_dp, attn_cp, attn_tp).
  RowRange range(const Layout& layout, const Placement& placement, WorldRank rank) const;

  /// Whether these rows were counted for a layout with the same attention sizes.
  bool fits(const Layout& layout) const noexcept;

 private:
  BatchRows(const Layout& layout, std::span<const std::size_t> chunk_counts);
  std::uint32_t attn_dp_ = 1;
  std::uint32_t attn_cp_ = 1;
  std::vector<std::size_t> starts_;  // of each tp rank's slice, and the end; (tp + 1)
};

/// What one step of a move does with the rows.
enum class StepKind : std::uint8_t { local_slice, all_reduce, all_gather, reduce_scatter };

/// Which of a layer's buffers holds a step's result: the one for the rows of the whole batch, or the
/// smaller one for a part of them.
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
/// gather become reduce-scatter and gather, a sum alone one all-reduce. Which steps there are follows from the layout alone, never from the row counts,
/// so ranks without rows take part in the same calls. Local, pure.
/// Throws: Error{usage} for a move that would lose a sum or add it up twice, for a sum that cannot
/// be owed (its ranks hold different rows), and for rows of another layout; Error{unsupported} for
/// a move that no sequence of these steps makes.
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

/// Bytes that a rank must read from its peers in a step of rows `row_bytes` wide, reductions done in
/// parts: all-reduce 2 (P - 1) / P operands, reduce-scatter P - 1 parts, all-gather all but the own
/// part. Local, pure.
COHORT_EXPORT std::size_t bytes_from_peers(const RankStep& step, std::size_t row_bytes) noexcept;

}  // namespace cohort
