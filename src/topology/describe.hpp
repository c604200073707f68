#pragma once

#include <string>

#include <cohort/layout.hpp>

namespace cohort {

/// The groups of a layout as one JSON document: `schema`, `version`, `world`, `sizes` and, under
/// `groups`, the rank lists of every kind. Local.
std::string groups_as_json(const Layout& layout);

/// The groups of a layout as a table for people: kind, ranks in each group, number of groups, rank
/// lists. Local.
std::string groups_as_text(const Layout& layout);

}  // namespace cohort
