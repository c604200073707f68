#include "shell_words.hpp"

#include <cohort/error.hpp>

namespace cohort {

namespace {

bool is_blank(char letter) {
  return letter == ' ' || letter == '\t' || letter == '\r';
}

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
    if (letter == '\\') {
      take_backslash(/*quoted=*/false);
    } else if (letter == '\'' || letter == '"') {
      take_quoted(letter);
    } else if (is_blank(letter)) {
      end_word();
      ++at_;
    } else if (letter == '#' && !in_word_) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (letter == '<' || letter == '>') {
      take_redirection();
    } else if (letter == '\n' || letter == ';' || letter == '|' || letter == '&') {
      end_command();
      ++at_;
    } else {
      add(letter);
      ++at_;
    }
  }

  void take_backslash(bool quoted) {
    std::size_t next = at_ + 1;
    while (!quoted && next < text_.size() && is_blank(text_[next])) ++next;
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
      } else {
        add(text_[at_++]);
      }
    }
    if (at_ >= text_.size()) {
      throw Error(ErrorCode::usage,
                  std::string("--from: a quote ") + quote + " of the command is not closed",
                  std::nullopt, "arguments");
    }
    ++at_;
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
