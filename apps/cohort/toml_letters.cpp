#include "toml_letters.hpp"

#include <algorithm>
#include <cstddef>

namespace cohort {

namespace {

bool is_beyond_ascii(char c) noexcept {
  return static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

std::string without_letters(std::string_view text) {
  std::string ascii(text);
  std::replace_if(ascii.begin(), ascii.end(), is_beyond_ascii, '!');
  return ascii;
}

bool has_letter_behind_line_end(std::string_view text) noexcept {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  for (std::size_t at = text.find('\\'); at != std::string_view::npos;
       at = text.find('\\', at + 1)) {
    const std::size_t next = text.find_first_not_of(kSpace, at + 1);
    if (next == std::string_view::npos) return false;
    const std::string_view between = text.substr(at + 1, next - at - 1);
    if (between.find_first_of("\n\v\f\r") != std::string_view::npos && is_beyond_ascii(text[next]))
      return true;
  }
  return false;
}

}  // namespace cohort
