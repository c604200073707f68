#pragma once

// What each boundary of a layer moves: the one place that says so, for the communicator that runs
// it and for reports that show it. Pure.

#include <array>
#include <cstddef>
#include <string_view>

#include <cohort/layer.hpp>
#include <cohort/layout.hpp>

namespace cohort::layer {

/// In the order of `LayerSlots`.
enum class Boundary : std::size_t { kv, attention_output, mlp_input, mlp_output, last_rows };

inline constexpr std::array kBoundaries = {Boundary::kv, Boundary::attention_output,
                                           Boundary::mlp_input, Boundary::mlp_output,
                                           Boundary::last_rows};

constexpr std::size_t index_of(Boundary boundary) noexcept {
  return static_cast<std::size_t>(boundary);
}

/// As its slot is named, e.g. "mlp_input".
std::string_view to_string(Boundary boundary) noexcept;

/// The move of a boundary. `rows` are the boundary's own: last rows of `last_rows`.
/// Throws: as `plan_move`.
Move move_of(const Layout& layout, Boundary boundary, const BatchRows& rows);

}  // namespace cohort::layer
