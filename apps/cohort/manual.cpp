#include "manual.hpp"

#include <algorithm>
#include <cctype>
#include <ostream>
#include <sstream>
#include <string_view>

#include <CLI/CLI.hpp>

#include <cohort/version.hpp>

#include "help_formatter.hpp"

namespace cohort {

namespace {

/// `text` as it is to be read: nothing in it is a request, and a hyphen can be copied into a shell.
std::string escaped(std::string_view text) {
  std::string result;
  if (text.starts_with('.') || text.starts_with('\'')) result = "\\&";
  for (const char letter : text) {
    switch (letter) {
      case '\\': result += "\\e"; break;
      case '-': result += "\\-"; break;
      case '\'': result += "\\(aq"; break;
      case '`': result += "\\(ga"; break;
      case '^': result += "\\(ha"; break;
      case '~': result += "\\(ti"; break;
      default: result += letter;
    }
  }
  return result;
}

bool is_blank(const std::string& line) {
  return line.find_first_not_of(' ') == std::string::npos;
}

/// Lines of help below the flags: paragraphs flow, what is indented stays as it is.
void print_text(const std::string& text, std::ostream& page) {
  std::istringstream lines(text);
  bool as_is = false;
  bool is_new_paragraph = false;  // the heading begins the first
  for (std::string line; std::getline(lines, line);) {
    const bool indented = line.starts_with("  ");
    if (as_is && !indented && !is_blank(line)) {
      page << ".EE\n.in\n";
      as_is = false;
      is_new_paragraph = true;
    }
    if (is_blank(line)) {
      if (as_is) {
        page << "\n";
      } else {
        is_new_paragraph = true;
      }
      continue;
    }
    if (indented && !as_is) {
      // As far left as it may be: lines are as long as a terminal is wide.
      page << (is_new_paragraph ? ".PP\n" : "") << ".in 2n\n.EX\n";
      as_is = true;
    } else if (!indented && is_new_paragraph) {
      page << ".PP\n";
    }
    is_new_paragraph = false;
    page << escaped(as_is ? line.substr(2) : line) << "\n";
  }
  if (as_is) page << ".EE\n.in\n";
}

void print_options(const CLI::App& app, std::ostream& page) {
  for (const CLI::Option* option : app.get_options()) {
    std::string names;
    for (const std::string& name : option->get_snames()) {
      names += (names.empty() ? "\\fB" : ", \\fB") + escaped("-" + name) + "\\fR";
    }
    for (const std::string& name : option->get_lnames()) {
      names += (names.empty() ? "\\fB" : ", \\fB") + escaped("--" + name) + "\\fR";
    }
    if (names.empty()) names = "\\fB" + escaped(option->get_name()) + "\\fR";
    const OptionWords words = option_words(*option);
    page << ".TP\n" << names;
    if (!words.value.empty()) page << " \\fI" << escaped(words.value) << "\\fR";
    page << (option->get_required() ? " (required)" : "") << "\n"
         << escaped(words.description) << ".\n";
  }
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
  return text;
}

void print_command(const CLI::App& app, std::ostream& page) {
  const std::string name = full_name(app);
  page << ".SH " << escaped(upper(name)) << "\n" << escaped(app.get_description()) << ".\n";
  if (!app.get_options().empty()) page << ".SS Flags\n";
  print_options(app, page);
  page << ".SS Use\n";
  print_text(app.get_footer(), page);
  for (const CLI::App* sub : app.get_subcommands({})) {
    if (!sub->get_group().empty()) print_command(*sub, page);
  }
}

}  // namespace

std::string manual_page(const CLI::App& app) {
  std::ostringstream page;
  page << ".\\\" Written by 'cohort manual'.\n"
          ".TH COHORT 1 \"\" \"cohort " COHORT_VERSION
          "\" \"User Commands\"\n"
          ".SH NAME\ncohort \\- symmetric memory and collectives for models over many ranks\n"
          ".SH SYNOPSIS\n.B cohort\n.I COMMAND\n[\\fIFLAGS\\fR]\n"
          ".SH COMMANDS\n";
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_group().empty()) continue;
    page << ".TP\n.B " << escaped(command->get_name()) << "\n"
         << escaped(command->get_description()) << ".\n";
  }
  page << ".SH FLAGS\n";
  print_options(app, page);
  page << ".SH USE\n";
  print_text(app.get_footer(), page);
  for (const CLI::App* command : app.get_subcommands({})) {
    if (!command->get_group().empty()) print_command(*command, page);
  }
  return page.str();
}

void add_manual_command(CLI::App& app, std::ostream& output) {
  CLI::App* command = app.add_subcommand("manual", "Print the manual page");
  command->group("");
  command->callback([&app, &output] { output << manual_page(app); });
}

}  // namespace cohort
