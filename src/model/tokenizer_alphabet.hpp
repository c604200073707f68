// The byte-level alphabet: one printable character for each of the 256 bytes, so that vocabularies
// and merges can be written as text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cohort {

/// The character that stands for `byte`, as UTF-8. Local.
std::string byte_level_character(std::uint8_t byte);

/// The bytes that `text` spells, unless a character of it is not of the alphabet. Local.
std::optional<std::string> byte_level_bytes(std::string_view text);

}  // namespace cohort
