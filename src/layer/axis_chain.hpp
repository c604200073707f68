#pragma once

#include <optional>
#include <string>

#include <cohort/placement.hpp>

namespace cohort::layer {

/// How finely rows are sharded: the axes attn_dp, attn_cp, attn_tp are taken up one after another,
/// so a level is the number of axes taken. Axes of one rank change nothing; levels are therefore
/// compared after `merged`.
enum class Level : int { all = 0, replica = 1, chunk = 2, slice = 3 };

/// The axes but for those of one rank.
AxisSet effective(const Layout& layout, AxisSet axes) noexcept;

/// The coarsest level with the same rows as `level`.
Level merged(const Layout& layout, Level level) noexcept;

/// The merged level of a placement's rows; nothing for axes that are no prefix of the chain.
std::optional<Level> level_of(const Layout& layout, AxisSet axes) noexcept;

/// For messages: why `axes` have no level.
std::string describe_gap(AxisSet axes);

/// The axes of a level, but for those of one rank.
AxisSet axes_of(const Layout& layout, Level level) noexcept;

/// The levels that a group's ranks lie between: they hold the same rows at `coarse`, different ones
/// at `fine`. Both merged, so they are equal for a group of one rank.
struct Span {
  Level coarse = Level::all;
  Level fine = Level::all;
  friend bool operator==(const Span&, const Span&) = default;
};

/// Nothing for groups that are not made of token axes.
std::optional<Span> span_of(const Layout& layout, GroupKind group) noexcept;

}  // namespace cohort::layer
