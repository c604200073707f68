#include "model/printable.hpp"

#include "model/utf8.hpp"

namespace cohort {

std::string printable(std::string_view text) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string out;
  const std::string valid = to_valid_utf8(text.substr(0, 2 * kPrintableBytesMax));
  for (std::string_view rest = valid; !rest.empty();) {
    const std::string_view character = rest.substr(0, next_utf8(rest).byte_count);
    rest.remove_prefix(character.size());
    const auto byte = static_cast<unsigned char>(character[0]);
    const bool is_control = byte < 0x20 || byte == 0x7f;
    const std::size_t bytes = is_control ? 4 : character.size();
    if (out.size() + bytes > kPrintableBytesMax) return out + "...";
    if (!is_control) {
      out += character;
      continue;
    }
    out += "\\x";
    out += kHexDigits[byte >> 4U];
    out += kHexDigits[byte & 15U];
  }
  return out;
}

}  // namespace cohort
