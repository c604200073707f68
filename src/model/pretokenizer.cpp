#include "model/pretokenizer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>

#include <cohort/error.hpp>

#include "model/pretokenizer_tables.hpp"
#include "model/printable.hpp"
#include "model/utf8.hpp"

namespace cohort {
namespace {

bool contains(std::span<const CodePointRange> ranges, char32_t code_point) noexcept {
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), code_point,
      [](char32_t code, const CodePointRange& range) { return code < range.first; });
  return after != ranges.begin() && code_point <= std::prev(after)->last;
}

CodePointClass look_up(char32_t code_point) noexcept {
  if (contains(letter_ranges(), code_point)) return CodePointClass::letter;
  if (contains(digit_ranges(), code_point)) return CodePointClass::digit;
  if (contains(space_ranges(), code_point)) return CodePointClass::space;
  return CodePointClass::other;
}

/// A character with its class; `byte_count` 0 at the end of the text.
struct Character {
  CodePointClass kind = CodePointClass::other;
  std::size_t byte_count = 0;
};

Character character_at(std::string_view text, std::size_t offset) noexcept {
  if (offset == text.size()) return {};
  const Utf8Step step = next_utf8(text.substr(offset));
  return {code_point_class(step.code_point), step.byte_count};
}

/// The run of one class that begins at `offset`: where it ends, and where its last character
/// begins.
struct Run {
  std::size_t end = 0;
  std::size_t last = 0;
};

Run run_at(std::string_view text, std::size_t offset, CodePointClass kind) noexcept {
  Run run{offset, offset};
  for (Character next = character_at(text, run.end); next.byte_count > 0 && next.kind == kind;
       next = character_at(text, run.end)) {
    run.last = run.end;
    run.end += next.byte_count;
  }
  return run;
}

/// The length of 's 't 're 've 'm 'll or 'd at the front of `text`, else 0.
std::size_t contraction_bytes(std::string_view text) noexcept {
  constexpr std::array<std::string_view, 7> kContractions{"'s", "'t",  "'re", "'ve",
                                                          "'m", "'ll", "'d"};
  for (const std::string_view contraction : kContractions) {
    if (text.starts_with(contraction)) return contraction.size();
  }
  return 0;
}

/// The end of the word that begins at `offset` in `text`, which holds no digit: what the pattern
///   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// matches there.
std::size_t word_end(std::string_view text, std::size_t offset) noexcept {
  if (const std::size_t bytes = contraction_bytes(text.substr(offset)); bytes > 0) {
    return offset + bytes;
  }
  const Character first = character_at(text, offset);
  if (first.kind != CodePointClass::space) return run_at(text, offset, first.kind).end;
  if (text[offset] == ' ') {
    const Character second = character_at(text, offset + 1);
    if (second.byte_count > 0 && second.kind != CodePointClass::space) {
      return run_at(text, offset + 1, second.kind).end;
    }
  }
  // White space leaves its last character to the word after it, unless that is all there is.
  const Run run = run_at(text, offset, CodePointClass::space);
  return run.end == text.size() || run.last == offset ? run.end : run.last;
}

void split_without_digits(std::string_view text, std::vector<std::string_view>& words) {
  for (std::size_t offset = 0; offset < text.size();) {
    const std::size_t end = word_end(text, offset);
    words.push_back(text.substr(offset, end - offset));
    offset = end;
  }
}

void split_smollm(std::string_view text, std::vector<std::string_view>& words) {
  std::size_t begin = 0;  // of the part that holds no digit
  for (std::size_t offset = 0; offset < text.size();) {
    const Character next = character_at(text, offset);
    if (next.kind == CodePointClass::digit) {
      split_without_digits(text.substr(begin, offset - begin), words);
      words.push_back(text.substr(offset, next.byte_count));
      begin = offset + next.byte_count;
    }
    offset += next.byte_count;
  }
  split_without_digits(text.substr(begin), words);
}

}  // namespace

Pretokenizer pretokenizer_named(std::string_view name) {
  if (name == "smollm") return Pretokenizer::smollm;
  throw Error(ErrorCode::unsupported,
              "the model's pre-tokeniser '" + printable(name) +
                  "' (key tokenizer.ggml.pre) is not one this build knows: smollm");
}

CodePointClass code_point_class(char32_t code_point) noexcept {
  static const std::array<CodePointClass, 128> kAscii = [] {
    std::array<CodePointClass, 128> classes{};
    for (std::size_t i = 0; i < classes.size(); ++i) classes[i] = look_up(static_cast<char32_t>(i));
    return classes;
  }();
  return code_point < kAscii.size() ? kAscii[code_point] : look_up(code_point);
}

void split_words(Pretokenizer rules, std::string_view text, std::vector<std::string_view>& words) {
  switch (rules) {
    case Pretokenizer::smollm: return split_smollm(text, words);
  }
}

}  // namespace cohort
