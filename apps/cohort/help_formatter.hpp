#pragma once

#include <memory>
#include <string>

namespace CLI {
class App;
class FormatterBase;
class Option;
}  // namespace CLI

namespace cohort {

/// How every command prints its help: no wider than a terminal, defaults in words behind what a
/// flag does, the command's full name in the usage line. Paragraphs below the flags flow; lines
/// that begin with a blank stay as they are.
std::shared_ptr<CLI::FormatterBase> help_formatter();

/// "cohort bench layer". Local.
std::string full_name(const CLI::App& app);

/// What help and manual say of a flag.
struct OptionWords {
  std::string value;        ///< "FILE"; empty where it takes none
  std::string description;  ///< with the default in words
};
OptionWords option_words(const CLI::Option& option);

}  // namespace cohort
