// UTF-8 as the Unicode standard defines it: no overlong forms, no surrogates, nothing past
// U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cohort {

/// What stands at the front of some bytes.
enum class Utf8Status : std::uint8_t {
  valid,       ///< a whole character
  incomplete,  ///< the beginning of one, cut off by the end of the bytes
  invalid,     ///< bytes that begin no character
};

struct Utf8Step {
  Utf8Status status = Utf8Status::invalid;
  std::uint8_t byte_count = 0;  ///< 1 to 4; for invalid: what one U+FFFD stands for
  char32_t code_point = 0;      ///< only where valid
};

/// The three bytes of U+FFFD, which stands for bytes that are not text.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// Reads the first character of `text`, which must not be empty. Local.
Utf8Step next_utf8(std::string_view text) noexcept;

/// The offset of the first byte that is not part of a whole character, if there is one. Local.
std::optional<std::size_t> first_invalid_utf8(std::string_view text) noexcept;

/// `bytes` as text: each longest run that could begin a character but does not becomes one U+FFFD.
/// Local.
std::string to_valid_utf8(std::string_view bytes);

/// Appends `code_point`, which must not be a surrogate, as UTF-8. Local.
void append_utf8(std::string& text, char32_t code_point);

}  // namespace cohort
