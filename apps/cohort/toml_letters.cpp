#include "toml_letters.hpp"

#include <cstddef>

namespace cohort {

namespace {

class Scan {
 public:
  explicit Scan(std::string_view text) : text_(text) {
    if (text.starts_with("\xEF\xBB\xBF")) at_ = 3;  // a byte order mark
  }

  std::uint32_t run() {
    while (at_ < text_.size() && !found_) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = text_.find('\n', at_);
      } else if ((c == '"' || c == '\'') && may_begin_string()) {
        skip_string(c);
        before_ = c;
      } else {
        step();
      }
    }
    return found_ ? line_ : 0;
  }

 private:
  /// Elsewhere a quote is part of something malformed, which the parser goes on reading.
  bool may_begin_string() const {
    return std::string_view("\n=[,{.").find(before_) != std::string_view::npos;
  }

  void step() {
    const char c = text_[at_++];
    if (c != ' ' && c != '\t' && c != '\r') before_ = c;
    if (static_cast<unsigned char>(c) >= 0x80) found_ = true;
    if (c == '\n') ++line_;
  }

  void skip_string(char quote) {
    const char three[] = {quote, quote, quote, '\0'};
    if (text_.substr(at_).starts_with(three)) return skip_lines(three);
    for (++at_; at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n'; ++at_) {
      const bool escapes = quote == '"' && text_[at_] == '\\';
      if (escapes && at_ + 1 < text_.size() && text_[at_ + 1] != '\n') ++at_;
    }
    if (at_ < text_.size() && text_[at_] == quote) ++at_;
  }

  void skip_lines(std::string_view three) {
    at_ += three.size();
    while (at_ < text_.size() && !found_) {
      if (text_.substr(at_).starts_with(three)) {
        at_ += three.size();
        return;
      }
      const bool escapes = three[0] == '"' && text_[at_] == '\\';
      step();
      if (escapes && at_ < text_.size() && !found_) step();
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  char before_ = '\n';  ///< the last one that is no space
  bool found_ = false;
};

}  // namespace

std::uint32_t line_of_misplaced_letter(std::string_view text) noexcept {
  return Scan(text).run();
}

}  // namespace cohort
