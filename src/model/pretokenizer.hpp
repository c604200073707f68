// Cuts a text into the words within which byte pairs are merged.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace cohort {

/// The rules a model was trained with, by the name its file gives them.
enum class Pretokenizer : std::uint8_t {
  smollm,  ///< every digit by itself, then the byte-level pattern without a leading space
};

/// How a code point takes part in word boundaries.
enum class CodePointClass : std::uint8_t { letter, digit, space, other };

/// The pre-tokeniser called `name` in a model file. Local.
/// Throws: Error{unsupported} that names it and the known ones.
Pretokenizer pretokenizer_named(std::string_view name);

/// The class of one code point, as the `tokenizers` library treats it. Local.
CodePointClass code_point_class(char32_t code_point) noexcept;

/// Appends the words of `text`, valid UTF-8, to `words`; joined they are `text`. Local.
/// Cost: linear in the bytes of `text`.
void split_words(Pretokenizer rules, std::string_view text, std::vector<std::string_view>& words);

}  // namespace cohort
