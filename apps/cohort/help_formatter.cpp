#include "help_formatter.hpp"

#include <sstream>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "base/wrapped.hpp"

namespace cohort {

namespace {

/// A line that stays as it is: of an example, or of a table.
bool is_set(std::string_view line) {
  return line.empty() || line.starts_with(' ');
}

std::string flowed(std::string_view text) {
  std::string result;
  std::string paragraph;
  const auto end_paragraph = [&] {
    for (const std::string& line : wrapped(paragraph, kTextColumns)) result += line + "\n";
    paragraph.clear();
  };
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (is_set(line)) {
      end_paragraph();
      result += line + "\n";
    } else {
      paragraph += (paragraph.empty() ? "" : " ") + line;
    }
  }
  end_paragraph();
  return result;
}

class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
    // The base class ends some groups with a line too many.
    for (std::size_t at = 0; (at = text.find("\n\n\n", at)) != std::string::npos;) {
      text.erase(at, 1);
    }
    return text;
  }

  std::string make_description(const CLI::App* app) const override {
    return flowed(app->get_description());
  }

  std::string make_footer(const CLI::App* app) const override { return flowed(app->get_footer()); }

  std::string make_usage(const CLI::App* app, std::string) const override {
    return CLI::Formatter::make_usage(app, full_name(*app));
  }

  std::string make_subcommand(const CLI::App* command) const override {
    std::ostringstream line;
    CLI::detail::format_help(line, command->get_name(), in_column(command->get_description()),
                             column_width_);
    return line.str();
  }

  /// The values that a flag takes, and whether it must be given. The base class also shows the
  /// default there, and choices beside the name of their type.
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";
    const std::string value = option_words(*option).value;
    const std::string text = (value.empty() ? "" : " ") + value;
    return option->get_required() ? text + " (required)" : text;
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    return in_column(option_words(*option).description);
  }

 private:
  /// The base class indents what follows a line's end.
  std::string in_column(std::string_view text) const {
    std::string lines;
    for (const std::string& line : wrapped(text, kTextColumns - column_width_)) {
      lines += (lines.empty() ? "" : "\n") + line;
    }
    return lines;
  }
};

}  // namespace

std::shared_ptr<CLI::FormatterBase> help_formatter() {
  return std::make_shared<HelpFormatter>();
}

std::string full_name(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return (parent == nullptr ? "" : full_name(*parent) + ' ') + app.get_name();
}

OptionWords option_words(const CLI::Option& option) {
  OptionWords words;
  if (option.get_type_size() != 0) {
    const std::string type = option.get_type_name();
    words.value = type.substr(0, type.find(':'));
    if (option.get_expected_max() == CLI::detail::expected_max_vector_size) {
      words.value += words.value.empty() ? "..." : " ...";
    }
  }
  const std::string standard = option.get_default_str();
  words.description = option.get_description();
  if (!standard.empty()) words.description += " (default " + standard + ")";
  return words;
}

}  // namespace cohort
