#include "help_formatter.hpp"

#include <sstream>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "wrapped.hpp"

namespace cohort {

namespace {

std::string full_name(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return (parent == nullptr ? "" : full_name(*parent) + ' ') + app.get_name();
}

class HelpFormatter final : public CLI::Formatter {
 public:
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
    const std::string type = option->get_type_name();
    std::string text = (type.empty() ? "" : " ") + type.substr(0, type.find(':'));
    if (option->get_expected_max() == CLI::detail::expected_max_vector_size) text += " ...";
    return option->get_required() ? text + " (required)" : text;
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    const std::string standard = option->get_default_str();
    return in_column(option->get_description() +
                     (standard.empty() ? "" : " (default " + standard + ")"));
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

}  // namespace cohort
