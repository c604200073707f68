#include "layer/axis_chain.hpp"

#include <array>

namespace cohort::layer {

namespace {

constexpr std::array kChain = {TokenAxis::attn_dp, TokenAxis::attn_cp, TokenAxis::attn_tp};

std::uint32_t ranks_along(const Layout& layout, TokenAxis axis) noexcept {
  switch (axis) {
    case TokenAxis::attn_dp: return layout.sizes().attn_dp;
    case TokenAxis::attn_cp: return layout.sizes().attn_cp;
    case TokenAxis::attn_tp: return layout.attn_tp();
  }
  return 1;
}

}  // namespace

AxisSet effective(const Layout& layout, AxisSet axes) noexcept {
  const auto keep = [&](TokenAxis axis) {
    return axes.contains(axis) && ranks_along(layout, axis) > 1 ? AxisSet{axis} : AxisSet{};
  };
  return keep(TokenAxis::attn_dp) | keep(TokenAxis::attn_cp) | keep(TokenAxis::attn_tp);
}

Level merged(const Layout& layout, Level level) noexcept {
  int index = static_cast<int>(level);
  while (index > 0 && ranks_along(layout, kChain[static_cast<std::size_t>(index - 1)]) == 1) {
    --index;
  }
  return Level{index};
}

AxisSet axes_of(const Layout& layout, Level level) noexcept {
  AxisSet axes;
  for (std::size_t i = 0; i < static_cast<std::size_t>(level); ++i)
    axes = axes | AxisSet{kChain[i]};
  return effective(layout, axes);
}

std::optional<Level> level_of(const Layout& layout, AxisSet axes) noexcept {
  for (const Level level : {Level::all, Level::replica, Level::chunk, Level::slice}) {
    if (axes_of(layout, level) == effective(layout, axes)) return level;
  }
  return std::nullopt;
}

std::string describe_gap(AxisSet axes) {
  return "rows sharded over " + to_string(Placement{axes, std::nullopt}) +
         " only; an axis must come with those before it in attn_dp, attn_cp, attn_tp";
}

std::optional<Span> span_of(const Layout& layout, GroupKind group) noexcept {
  const auto between = [&](Level coarse, Level fine) {
    return Span{merged(layout, coarse), merged(layout, fine)};
  };
  switch (group) {
    case GroupKind::attn_tp: return between(Level::chunk, Level::slice);
    case GroupKind::attn_cp: return between(Level::replica, Level::chunk);
    case GroupKind::attn: return between(Level::replica, Level::slice);
    case GroupKind::tp: return between(Level::all, Level::slice);
    default: return std::nullopt;
  }
}

}  // namespace cohort::layer
