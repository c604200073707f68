// Cuts a template into text and the parts of its tags, with white space controlled as jinja2 does
// when `trim_blocks` and `lstrip_blocks` are set, which is how chat templates are meant.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::jinja {

/// A place in a template, both from 1; a column is a character.
struct Position {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

/// Throws Error{unsupported} that names the place.
[[noreturn]] void refuse(Position position, const std::string& problem);

enum class TokenKind : std::uint8_t {
  text,          ///< outside of tags
  output_begin,  ///< {{
  output_end,    ///< }}
  block_begin,   ///< {%
  block_end,     ///< %}
  name,
  string,   ///< `text` has the escapes resolved
  integer,  ///< decimal digits
  symbol,   ///< any other character, or one of == != <= >= // **
  end,      ///< of the template
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;
  Position position;
};

/// The tokens of `source`, valid UTF-8; the last is `end`. Comments leave nothing. Local.
/// Throws: Error{unsupported} for a tag, comment or string that does not end, and for numbers and
/// escapes beyond decimal integers and the common ones.
std::vector<Token> tokenize(std::string_view source);

}  // namespace cohort::jinja
