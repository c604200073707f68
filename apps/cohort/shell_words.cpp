#include "shell_words.hpp"

#include <cohort/error.hpp>

namespace cohort {

namespace {

bool is_blank(char letter) {
  return letter == ' ' || letter == '\t' || letter == '\r';
}

/// What continues a line in the shells of Windows.
bool is_foreign_backslash(char letter) {
  return letter == '`' || letter == '^';
}

/// What ends a command; a bracket that is not quoted is never part of a word.
constexpr std::string_view kSeparators = "\n;|&()";

/// The blank that does not break, as it comes from web pages.
constexpr std::string_view kWideBlank = "\xC2\xA0";

class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  std::vector<ShellCommand> split() {
    while (at_ < text_.size()) step();
    end_command();
    return std::move(commands_);
  }

 private:
  void step() {
    const char letter = text_[at_];
    if (letter == '\\' || (is_foreign_backslash(letter) && ends_line(at_ + 1))) {
      take_backslash(/*quoted=*/false);
    } else if (begins_substitution()) {
      take_substitution();
    } else if (is_wide_blank(at_)) {
      end_word();
      at_ += kWideBlank.size();
    } else if (letter == '\'' || letter == '"') {
      take_quoted(letter);
    } else if (is_blank(letter)) {
      end_word();
      ++at_;
    } else if (letter == '#' && !in_word_) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (letter == '<' || letter == '>') {
      take_redirection();
    } else if (kSeparators.find(letter) != std::string_view::npos) {
      end_command();
      ++at_;
    } else {
      add(letter);
      ++at_;
    }
  }

  std::size_t skip_blanks(std::size_t at) const {
    while (at < text_.size() && (is_blank(text_[at]) || is_wide_blank(at))) {
      at += is_wide_blank(at) ? kWideBlank.size() : 1;
    }
    return at;
  }

  bool ends_line(std::size_t at) const {
    at = skip_blanks(at);
    return at >= text_.size() || text_[at] == '\n';
  }

  void take_backslash(bool quoted) {
    std::size_t next = quoted ? at_ + 1 : skip_blanks(at_ + 1);
    if (quoted && next < text_.size() && text_[next] == '\r') ++next;
    if (next >= text_.size() || text_[next] == '\n') {
      at_ = next + 1;
      return;
    }
    const char escaped = text_[at_ + 1];
    const bool stays = quoted && escaped != '"' && escaped != '\\' && escaped != '$';
    if (stays) add('\\');
    add(escaped);
    at_ += 2;
  }

  void take_quoted(char quote) {
    in_word_ = true;
    for (++at_; at_ < text_.size() && text_[at_] != quote;) {
      if (quote == '"' && text_[at_] == '\\') {
        take_backslash(/*quoted=*/true);
      } else if (quote == '"' && letter_expands() && begins_substitution()) {
        take_substitution();
      } else {
        add(text_[at_++]);
      }
    }
    if (at_ >= text_.size()) refuse_open(std::string("a quote ") + quote);
    ++at_;
  }

  bool is_wide_blank(std::size_t at) const { return text_.substr(at).starts_with(kWideBlank); }

  /// Within quotes "<(" is text.
  bool letter_expands() const { return text_[at_] == '$' || text_[at_] == '`'; }

  bool begins_substitution() const {
    if (text_[at_] == '`') return true;
    const std::string_view opening = text_.substr(at_, 2);
    return opening == "$(" || opening == "${" || opening == "<(" || opening == ">(";
  }

  /// What another command or a variable would say stays as it stands, in one piece: what it holds
  /// neither ends a word nor a command.
  void take_substitution() {
    const std::size_t begin = at_;
    if (text_[at_] == '`') {
      at_ = text_.find('`', at_ + 1);
    } else {
      at_ = closing_bracket(at_ + 1);
    }
    if (at_ >= text_.size()) {
      refuse_open("a " + std::string(text_.substr(begin, text_[begin] == '`' ? 1 : 2)));
    }
    ++at_;
    word_ += text_.substr(begin, at_ - begin);
    in_word_ = true;
  }

  /// Where the bracket at `open` is closed, or nowhere: npos.
  std::size_t closing_bracket(std::size_t open) const {
    const char closing = text_[open] == '(' ? ')' : '}';
    std::size_t depth = 0;
    for (std::size_t at = open; at < text_.size(); ++at) {
      const char letter = text_[at];
      if (letter == '\\') {
        ++at;
      } else if (letter == '\'') {
        at = text_.find('\'', at + 1);
        if (at == std::string_view::npos) return at;
      } else if (letter == text_[open]) {
        ++depth;
      } else if (letter == closing && --depth == 0) {
        return at;
      }
    }
    return std::string_view::npos;
  }

  [[noreturn]] static void refuse_open(const std::string& what) {
    throw Error(ErrorCode::usage, "--from: " + what + " of the command is not closed", std::nullopt,
                "arguments");
  }

  /// "2>&1", ">> log": neither the number before nor the file behind is a word of the command.
  void take_redirection() {
    if (word_.find_first_not_of("0123456789") == std::string::npos) {
      word_.clear();
      in_word_ = false;
    }
    end_word();
    while (at_ < text_.size() && (text_[at_] == '<' || text_[at_] == '>' || text_[at_] == '&')) {
      ++at_;
    }
    skip_next_ = true;
  }

  void add(char letter) {
    word_ += letter;
    in_word_ = true;
  }

  void end_word() {
    if (!in_word_) return;
    if (!skip_next_) words_.push_back(word_);
    skip_next_ = false;
    word_.clear();
    in_word_ = false;
  }

  void end_command() {
    end_word();
    skip_next_ = false;
    if (!words_.empty()) commands_.push_back(std::move(words_));
    words_.clear();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string word_;
  bool in_word_ = false;    // an empty word in quotes is one, too
  bool skip_next_ = false;  // the next word is the file of a redirection
  ShellCommand words_;
  std::vector<ShellCommand> commands_;
};

}  // namespace

std::vector<ShellCommand> split_shell_commands(std::string_view text) {
  return Splitter(text).split();
}

}  // namespace cohort
