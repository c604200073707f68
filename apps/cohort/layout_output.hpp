#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cohort/layout.hpp>

namespace cohort {

/// The sizes of a layout, as every document of the command has them. Pure.
nlohmann::ordered_json layout_json(const Layout& layout);

}  // namespace cohort
