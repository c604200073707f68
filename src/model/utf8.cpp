#include "model/utf8.hpp"

namespace cohort {
namespace {

struct LeadByte {
  std::uint8_t byte_count = 0;     // 0: no character begins with it
  std::uint8_t second_min = 0x80;  // the second byte's range excludes overlong forms, surrogates
  std::uint8_t second_max = 0xBF;  // and everything past U+10FFFF
};

LeadByte lead_byte(std::uint8_t byte) noexcept {
  if (byte < 0x80) return {.byte_count = 1};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {.byte_count = 2};
  if (byte == 0xE0) return {.byte_count = 3, .second_min = 0xA0};
  if (byte == 0xED) return {.byte_count = 3, .second_max = 0x9F};
  if (byte < 0xF0) return {.byte_count = 3};
  if (byte == 0xF0) return {.byte_count = 4, .second_min = 0x90};
  if (byte < 0xF4) return {.byte_count = 4};
  if (byte == 0xF4) return {.byte_count = 4, .second_max = 0x8F};
  return {};
}

}  // namespace

Utf8Step next_utf8(std::string_view text) noexcept {
  const auto first = static_cast<std::uint8_t>(text[0]);
  const LeadByte lead = lead_byte(first);
  if (lead.byte_count == 0) return {Utf8Status::invalid, 1, 0};
  if (lead.byte_count == 1) return {Utf8Status::valid, 1, first};

  char32_t code_point = first & (0x7Fu >> lead.byte_count);
  for (std::uint8_t i = 1; i < lead.byte_count; ++i) {
    if (i == text.size()) return {Utf8Status::incomplete, i, 0};
    const auto byte = static_cast<std::uint8_t>(text[i]);
    const std::uint8_t min = i == 1 ? lead.second_min : std::uint8_t{0x80};
    const std::uint8_t max = i == 1 ? lead.second_max : std::uint8_t{0xBF};
    if (byte < min || byte > max) return {Utf8Status::invalid, i, 0};
    code_point = (code_point << 6) | (byte & 0x3Fu);
  }
  return {Utf8Status::valid, lead.byte_count, code_point};
}

std::optional<std::size_t> first_invalid_utf8(std::string_view text) noexcept {
  for (std::size_t offset = 0; offset < text.size();) {
    const Utf8Step step = next_utf8(text.substr(offset));
    if (step.status != Utf8Status::valid) return offset;
    offset += step.byte_count;
  }
  return std::nullopt;
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Step step = next_utf8(bytes);
    const bool valid = step.status == Utf8Status::valid;
    text += valid ? bytes.substr(0, step.byte_count) : kReplacementCharacter;
    bytes.remove_prefix(step.byte_count);
  }
  return text;
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto add = [&text](char32_t byte) { text += static_cast<char>(byte); };
  const auto add_tail = [&](unsigned shift) { add(0x80 | ((code_point >> shift) & 0x3F)); };
  if (code_point < 0x80) {
    add(code_point);
  } else if (code_point < 0x800) {
    add(0xC0 | (code_point >> 6));
    add_tail(0);
  } else if (code_point < 0x10000) {
    add(0xE0 | (code_point >> 12));
    add_tail(6);
    add_tail(0);
  } else {
    add(0xF0 | (code_point >> 18));
    add_tail(12);
    add_tail(6);
    add_tail(0);
  }
}

}  // namespace cohort
