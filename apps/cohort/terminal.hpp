#pragma once

// What the other end of an output can show. Files, pipes and tests get plain text.

#include <iosfwd>
#include <string>
#include <string_view>

namespace cohort {

struct Terminal {
  bool live = false;     ///< a line can be written over
  bool colours = false;  ///< words can be coloured

  friend bool operator==(const Terminal&, const Terminal&) = default;
};

/// By the conventions of terminals: TERM=dumb moves no cursor, and NO_COLOR with any value but the
/// empty one wants no colours. Null for what the environment does not name. Pure.
Terminal terminal_of(bool is_terminal, const char* term, const char* no_color) noexcept;

/// What standard output or standard error is; any other stream is no terminal. Local.
Terminal terminal_of(const std::ostream& stream);

enum class Ink { red, green, yellow, bold };

/// The text in a colour, where there are any. Pure.
std::string inked(std::string_view text, Ink ink, const Terminal& terminal);

}  // namespace cohort
