#pragma once

#include <cstdint>
#include <string_view>

namespace cohort {

/// The line of a TOML document's first byte beyond ASCII outside of comments and of strings on one
/// line; 0 if there is none. TOML has letters beyond ASCII there too, in strings of several lines;
/// the parser does not: it asks whether they are white space, and has no answer for some. Pure.
/// Cost: one pass.
std::uint32_t line_of_misplaced_letter(std::string_view text) noexcept;

}  // namespace cohort
