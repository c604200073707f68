#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cohort {

/// The candidate that a mistyped word most likely meant: the fewest single-character edits away,
/// the first of equals; nothing if more than a third of the word would have to change. Local.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace cohort
