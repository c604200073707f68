#include "model/tokenizer_alphabet.hpp"

#include <array>
#include <cstddef>

#include "model/utf8.hpp"

namespace cohort {
namespace {

/// Printable Latin-1 characters stand for themselves. The rest, which a reader could not see, take
/// the characters from U+0100 on, in order.
constexpr bool stands_for_itself(char32_t code_point) {
  return (code_point >= 0x21 && code_point <= 0x7E) || (code_point >= 0xA1 && code_point <= 0xAC) ||
         (code_point >= 0xAE && code_point <= 0xFF);
}

constexpr std::size_t kMovedCount = 68;

constexpr std::array<std::uint8_t, kMovedCount> kMoved = [] {
  std::array<std::uint8_t, kMovedCount> moved{};
  std::size_t count = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (!stands_for_itself(byte)) moved[count++] = static_cast<std::uint8_t>(byte);
  }
  return moved;
}();

}  // namespace

std::string byte_level_character(std::uint8_t byte) {
  char32_t code_point = byte;
  for (std::size_t i = 0; i < kMoved.size(); ++i) {
    if (kMoved[i] == byte) code_point = static_cast<char32_t>(0x100 + i);
  }
  std::string text;
  append_utf8(text, code_point);
  return text;
}

std::optional<std::string> byte_level_bytes(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    if (step.status != Utf8Status::valid) return std::nullopt;
    const char32_t code = step.code_point;
    if (stands_for_itself(code)) {
      bytes += static_cast<char>(code);
    } else if (code >= 0x100 && code < 0x100 + kMoved.size()) {
      bytes += static_cast<char>(kMoved[code - 0x100]);
    } else {
      return std::nullopt;
    }
    text.remove_prefix(step.byte_count);
  }
  return bytes;
}

}  // namespace cohort
