#include "model/chat_template/lexer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <cohort/error.hpp>

#include "model/chat_template/value.hpp"
#include "model/printable.hpp"
#include "model/utf8.hpp"

namespace cohort::jinja {
namespace {

bool is_digit(char byte) noexcept {
  return byte >= '0' && byte <= '9';
}

bool is_name_part(char byte) noexcept {
  return is_digit(byte) || byte == '_' || (byte >= 'a' && byte <= 'z') ||
         (byte >= 'A' && byte <= 'Z');
}

/// Line ends as single line feeds, and none at the very end.
std::string with_plain_newlines(std::string_view source) {
  std::string text;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const bool is_pair = source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n';
    if (!is_pair) text += source[i] == '\r' ? '\n' : source[i];
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_plain_newlines(source)), rest_(source_) {}

  std::vector<Token> run() {
    while (!rest_.empty()) {
      take_text();
      if (rest_.empty()) break;
      if (rest_[1] == '#') {
        skip_comment();
      } else {
        take_tag();
      }
    }
    add(TokenKind::end, {}, position_);
    return std::move(tokens_);
  }

 private:
  /// Moves on by `byte_count` bytes and keeps count of lines and columns.
  std::string_view advance(std::size_t byte_count) {
    const std::string_view passed = rest_.substr(0, byte_count);
    for (const char byte : passed) {
      if (byte == '\n') {
        ++position_.line;
        position_.column = 1;
      } else if ((static_cast<unsigned char>(byte) & 0xC0) != 0x80) {
        ++position_.column;
      }
    }
    rest_.remove_prefix(byte_count);
    return passed;
  }

  void add(TokenKind kind, std::string_view text, Position position) {
    tokens_.push_back({kind, std::string(text), position});
  }

  /// Takes the text up to the next tag, which may claim the white space before it.
  void take_text() {
    std::size_t end = 0;
    while (end < rest_.size() && !begins_tag(rest_.substr(end))) ++end;
    const Position begin = position_;
    const bool at_line_start = at_line_start_;
    std::string_view text = advance(end);
    if (!rest_.empty()) text = without_claimed_space(text, at_line_start);
    if (!text.empty()) add(TokenKind::text, text, begin);
  }

  static bool begins_tag(std::string_view text) noexcept {
    return text.starts_with("{{") || text.starts_with("{%") || text.starts_with("{#");
  }

  /// `text` less what the tag after it takes: all white space if it says `-`; for blocks and
  /// comments otherwise, unless they say `+`, the indentation of their line.
  std::string_view without_claimed_space(std::string_view text, bool at_line_start) const {
    const char sign = rest_.size() > 2 ? rest_[2] : ' ';
    if (sign == '-') return trimmed_back(text);
    if (sign == '+' || rest_[1] == '{') return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && !at_line_start) return text;
    return trimmed(text.substr(line)).empty() ? text.substr(0, line) : text;
  }

  /// Passes a tag's opening characters and its sign, if any.
  Position open_tag() {
    const Position begin = position_;
    advance(2);
    if (rest_.starts_with('-') || rest_.starts_with('+')) advance(1);
    return begin;
  }

  /// Passes the closing characters `close` with the white space they claim, if they are here.
  bool close_tag(std::string_view close) {
    const bool takes_space = rest_.starts_with('-') && rest_.substr(1).starts_with(close);
    // An output tag has no '+' at its end, and leaves the line break after it alone.
    const bool is_output = close == "}}";
    const bool takes_nothing =
        !is_output && rest_.starts_with('+') && rest_.substr(1).starts_with(close);
    if (!takes_space && !takes_nothing && !rest_.starts_with(close)) return false;

    std::string_view passed = advance(close.size() + (takes_space || takes_nothing ? 1 : 0));
    if (takes_space) {
      advance(rest_.size() - trimmed_front(rest_).size());
    } else if (!takes_nothing && !is_output && rest_.starts_with('\n')) {
      passed = advance(1);
    }
    at_line_start_ = passed == "\n";
    return true;
  }

  void skip_comment() {
    const Position begin = open_tag();
    while (!close_tag("#}")) {
      if (rest_.empty()) refuse(begin, "the comment is not closed by '#}'");
      advance(1);
    }
  }

  void take_tag() {
    const bool is_output = rest_[1] == '{';
    const std::string_view close = is_output ? "}}" : "%}";
    const Position begin = open_tag();
    add(is_output ? TokenKind::output_begin : TokenKind::block_begin, {}, begin);
    for (;;) {
      advance(rest_.size() - trimmed_front(rest_).size());
      const Position end = position_;
      if (rest_.empty()) refuse(begin, "the tag is not closed by '" + std::string(close) + "'");
      if (close_tag(close)) {
        add(is_output ? TokenKind::output_end : TokenKind::block_end, close, end);
        return;
      }
      take_part();
    }
  }

  /// Takes one name, number, string or symbol inside a tag.
  void take_part() {
    const Position begin = position_;
    const char first = rest_[0];
    if (first == '\'' || first == '"') {
      take_string();
    } else if (is_digit(first)) {
      take_integer();
    } else if (is_name_part(first)) {
      const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_name_part);
      const std::string_view name = advance(static_cast<std::size_t>(end - rest_.begin()));
      add(TokenKind::name, name, begin);
    } else {
      constexpr std::array<std::string_view, 6> kPairs{"==", "!=", "<=", ">=", "//", "**"};
      const bool is_pair =
          std::find(kPairs.begin(), kPairs.end(), rest_.substr(0, 2)) != kPairs.end();
      const std::string_view symbol = advance(is_pair ? 2 : next_utf8(rest_).byte_count);
      add(TokenKind::symbol, symbol, begin);
    }
  }

  void take_integer() {
    const Position begin = position_;
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_digit);
    const std::string_view digits = advance(static_cast<std::size_t>(end - rest_.begin()));
    const bool is_fraction = rest_.size() > 1 && rest_[0] == '.' && is_digit(rest_[1]);
    const bool has_suffix = !rest_.empty() && is_name_part(rest_[0]);
    if (is_fraction || has_suffix || (digits.size() > 1 && digits[0] == '0')) {
      refuse(begin, "numbers other than decimal integers are not supported");
    }
    add(TokenKind::integer, digits, begin);
  }

  void take_string() {
    const Position begin = position_;
    const char quote = rest_[0];
    advance(1);
    std::string text;
    while (!rest_.empty() && rest_[0] != quote) {
      if (rest_[0] == '\\') {
        take_escape(text);
      } else {
        text += advance(1);
      }
    }
    if (rest_.empty()) refuse(begin, "the string is not closed");
    advance(1);
    add(TokenKind::string, text, begin);
  }

  void take_escape(std::string& text) {
    const Position begin = position_;
    advance(1);
    if (rest_.empty()) return;  // the string is not closed
    constexpr std::string_view kEscapes = "ntr\\'\"";
    constexpr std::string_view kMeanings = "\n\t\r\\'\"";
    const std::size_t index = kEscapes.find(rest_[0]);
    const char letter = rest_[0];
    if (index != std::string_view::npos) {
      advance(1);
      text += kMeanings[index];
    } else if (letter == 'x' || letter == 'u') {
      advance(1);
      append_utf8(text, hexadecimal(begin, letter == 'x' ? 2 : 4));
    } else {
      refuse(begin,
             "this escape in a string is not supported; known: \\n \\t \\r \\\\ \\' \\\" "
             "\\xHH \\uHHHH");
    }
  }

  char32_t hexadecimal(Position begin, std::size_t digit_count) {
    constexpr std::string_view kDigits = "0123456789abcdefABCDEF";
    char32_t code = 0;
    for (std::size_t i = 0; i < digit_count; ++i) {
      const std::size_t index = rest_.empty() ? std::string_view::npos : kDigits.find(rest_[0]);
      if (index == std::string_view::npos)
        refuse(begin, "the escape needs more hexadecimal digits");
      code = code * 16 + static_cast<char32_t>(index < 16 ? index : index - 6);
      advance(1);
    }
    if (code >= 0xD800 && code < 0xE000) refuse(begin, "the escape names no character");
    return code;
  }

  std::string source_;
  std::string_view rest_;
  Position position_;
  bool at_line_start_ = true;  // where text begins: at the start, or after a tag took a line break
  std::vector<Token> tokens_;
};

}  // namespace

void refuse(Position position, const std::string& problem) {
  throw Error(ErrorCode::unsupported,
              "the model's chat template, line " + std::to_string(position.line) + ", column " +
                  std::to_string(position.column) + ": " + printable(problem));
}

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace cohort::jinja
