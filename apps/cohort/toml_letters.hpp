#pragma once

#include <string>
#include <string_view>

namespace cohort {

// TOML has letters beyond ASCII in quotes and comments. The parser asks of letters anywhere whether
// they are white space, and has no answer for some: what it does then is undefined. So a document
// is parsed twice, first without them, and then, if they stand only where nobody asks, as it is.

/// The document with a character in the place of every byte beyond ASCII that is part of nothing
/// but of quotes and comments: if this is TOML, they all stand there. Lines and columns stay. Pure.
std::string without_letters(std::string_view text);

/// Whether one follows a backslash at the end of a line, and white space: a string of several lines
/// leaves out what is there, so the parser asks. Pure.
bool has_letter_behind_line_end(std::string_view text) noexcept;

}  // namespace cohort
