// The only file that includes toml++.

#include "config_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

#include <cohort/error.hpp>

#include "input_file.hpp"
#include "model/printable.hpp"
#include "toml_letters.hpp"

namespace {

/// What the parser takes for granted of a document, and not every one keeps.
[[noreturn]] void refuse_document(const char* why) {
  throw std::domain_error(why);
}

}  // namespace

// With NDEBUG it would let the compiler take for granted what a malformed document does not keep.
#undef NDEBUG
#define TOML_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : refuse_document("a name or a value is malformed"))
#include <toml++/toml.h>

namespace cohort {

namespace {

constexpr std::size_t kFileBytesMax = 1 << 20;
// A command and a command of that one.
constexpr std::size_t kTablesMax = 2;

class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  void read(const toml::table& table, const std::string& command, std::size_t depth) {
    for (const auto& [key, node] : table) {
      const std::string word(key.str());
      const std::uint32_t line = node.source().begin.line;
      // So that messages may quote it from here on.
      if (word != printable(word)) refuse(line, "'" + printable(word) + "' is no name of a flag");
      if (const toml::table* inner = node.as_table()) {
        if (depth == kTablesMax) refuse(line, "there is no command '" + command + " " + word + "'");
        const std::string path = command + (command.empty() ? "" : " ") + word;
        entries.push_back({path, "", line, ConfigEntry::Kind::text, {}});
        read(*inner, path, depth + 1);
      } else if (const toml::array* list = node.as_array()) {
        ConfigEntry entry{command, word, line, ConfigEntry::Kind::list, {}};
        for (const toml::node& item : *list) entry.values.push_back(text_of(item, word, line));
        entries.push_back(std::move(entry));
      } else if (const auto* boolean = node.as_boolean()) {
        entries.push_back(
            {command, word, line, ConfigEntry::Kind::boolean, {boolean->get() ? "true" : "false"}});
      } else {
        entries.push_back(
            {command, word, line, ConfigEntry::Kind::text, {text_of(node, word, line)}});
      }
    }
  }

  std::vector<ConfigEntry> entries;

 private:
  [[noreturn]] void refuse(std::uint32_t line, const std::string& problem) const {
    throw Error(ErrorCode::usage, name_ + ":" + std::to_string(line) + ": " + problem, std::nullopt,
                "configuration");
  }

  std::string text_of(const toml::node& node, const std::string& key, std::uint32_t line) const {
    if (const auto* text = node.as_string()) {
      if (text->get().find('\0') != std::string::npos) refuse(line, key + " holds a zero byte");
      return text->get();
    }
    if (const auto* number = node.as_integer()) return std::to_string(number->get());
    if (const auto* number = node.as_floating_point()) {
      std::array<char, 64> digits{};
      const auto end =
          std::to_chars(digits.data(), digits.data() + digits.size(), number->get()).ptr;
      return {digits.data(), end};
    }
    refuse(line, key + " is neither a text, a number, true, false, nor a list of texts or numbers");
  }

  const std::string& name_;
};

}  // namespace

namespace {

/// Line `number` of a text, from 1 on.
std::string_view line_of(std::string_view text, std::uint32_t number) {
  for (; number > 1 && !text.empty(); --number) {
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return text.substr(0, text.find('\n'));
}

}  // namespace

std::vector<ConfigEntry> parse_config(std::string_view text, const std::string& name) {
  Reader reader(name);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark
  const std::string ascii = without_letters(text);
  try {
    // First where only quotes and comments may hold what stands for letters: see toml_letters.hpp.
    toml::table table = toml::parse(ascii, name);
    if (has_letter_behind_line_end(text)) {
      refuse_document("a letter beyond ASCII follows a backslash at the end of a line");
    }
    if (ascii != text) table = toml::parse(text, name);
    reader.read(table, "", 0);
  } catch (const toml::parse_error& error) {
    const std::uint32_t line = error.source().begin.line;
    const bool has_letters = line_of(ascii, line) != line_of(text, line);
    throw Error(ErrorCode::corrupt,
                name + ":" + std::to_string(line) + ": no TOML: " + printable(error.description()) +
                    (has_letters ? "; ! stands for letters beyond ASCII, which belong into quotes "
                                   "and comments"
                                 : ""),
                std::nullopt, "configuration");
  } catch (const std::domain_error& error) {
    throw Error(ErrorCode::corrupt, name + ": no TOML: " + error.what(), std::nullopt,
                "configuration");
  }
  std::stable_sort(reader.entries.begin(), reader.entries.end(),
                   [](const ConfigEntry& a, const ConfigEntry& b) { return a.line < b.line; });
  return std::move(reader.entries);
}

std::vector<ConfigEntry> read_config_file(const std::string& name, const std::string& named_by) {
  return parse_config(read_input_file(named_by, name, kFileBytesMax, InputReaders::command), name);
}

}  // namespace cohort
