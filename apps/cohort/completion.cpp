#include "completion.hpp"

#include <algorithm>
#include <memory>
#include <ostream>
#include <sstream>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

namespace cohort {

namespace {

constexpr const char* kFooter =
    R"text(Completes commands, flags, the values that a flag takes, and names of files. The
script follows from the flags of this very command, so it belongs to its version. Bash reads such
scripts from
~/.local/share/bash-completion/completions/cohort, zsh from a file _cohort in a folder that its
fpath names.

Exit codes: 0; 2 for a shell that is not known.

Examples:
  # For the bash that runs now:
  eval "$(cohort completion bash)"

  # For every fish from now on:
  cohort completion fish > ~/.config/fish/completions/cohort.fish)text";

/// What may stand behind a flag, or in the place of a positional argument.
enum class Value { none, text, choice, file, folder, program };

struct Flag {
  std::vector<std::string> names;  // "--tp", "-n"; none: a positional argument
  std::string description;
  Value value = Value::none;
  std::vector<std::string> choices;
};

struct Command {
  std::string path;  // "bench layer", "" for the program itself
  std::string description;
  std::vector<Flag> flags;
  std::vector<Command> commands;

  std::string_view name() const { return std::string_view(path).substr(path.rfind(' ') + 1); }
};

std::vector<std::string> choices_in(const std::string& type) {
  const std::size_t begin = type.find('{');
  const std::size_t end = type.find('}', begin);
  if (begin == std::string::npos || end == std::string::npos) return {};
  std::vector<std::string> choices;
  std::istringstream list(type.substr(begin + 1, end - begin - 1));
  for (std::string choice; std::getline(list, choice, ',');) choices.push_back(choice);
  return choices;
}

Flag flag_of(const CLI::Option& option) {
  Flag flag;
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  flag.description = option.get_description();
  if (option.get_type_size() == 0) return flag;
  const std::string type = option.get_type_name();
  flag.choices = choices_in(type);
  flag.value = Value::text;
  if (!flag.choices.empty()) flag.value = Value::choice;
  if (type.starts_with("FILE") || type.starts_with("PROGRAM")) flag.value = Value::file;
  if (type.starts_with("FOLDER")) flag.value = Value::folder;
  if (flag.names.empty() && type.empty()) flag.value = Value::program;
  return flag;
}

Command command_of(const CLI::App& app, const std::string& path) {
  Command command{path, app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options()) command.flags.push_back(flag_of(*option));
  for (const CLI::App* sub : app.get_subcommands({})) {
    if (sub->get_group().empty()) continue;  // nobody types those
    command.commands.push_back(
        command_of(*sub, (path.empty() ? "" : path + " ") + sub->get_name()));
  }
  return command;
}

/// The command and all below it.
std::vector<const Command*> all_of(const Command& command) {
  std::vector<const Command*> all{&command};
  for (const Command& sub : command.commands) {
    const auto below = all_of(sub);
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

/// A word for sh and its like, whatever is in it.
std::string in_quotes(std::string_view text, std::string_view escaped_quote = R"('\'')") {
  std::string word = "'";
  for (const char letter : text) {
    if (letter == '\'') {
      word += escaped_quote;
    } else {
      word += letter;
    }
  }
  return word + "'";
}

/// `generate --model|generate --prompts`, of all commands' flags with such a value.
std::string places_of(const Command& root, Value value) {
  std::vector<std::string> places;
  for (const Command* command : all_of(root)) {
    for (const Flag& flag : command->flags) {
      if (flag.value != value) continue;
      for (const std::string& name : flag.names) {
        places.push_back(in_quotes(command->path + " " + name));
      }
    }
  }
  return joined(places, "|");
}

/// A part of `case "$command $before"` that bash and zsh read alike.
std::string case_line(const std::string& places, const std::string& action) {
  return places.empty() ? "" : "    " + places + ") " + action + "; return ;;\n";
}

std::string choice_lines(const Command& root, const std::string& action) {
  std::string lines;
  for (const Command* command : all_of(root)) {
    for (const Flag& flag : command->flags) {
      if (flag.value != Value::choice) continue;
      std::vector<std::string> places;
      for (const std::string& name : flag.names) {
        places.push_back(in_quotes(command->path + " " + name));
      }
      std::string filled = action;
      filled.replace(filled.find("WORDS"), 5, joined(flag.choices));
      lines += case_line(joined(places, "|"), filled);
    }
  }
  return lines;
}

/// Which command the words so far name, into `command`; behind -- all is left to the shell.
std::string find_command(const Command& root, const char* word, const char* otherwise) {
  std::string text = std::string("    case \"$command ") + word + "\" in\n";
  for (const Command* command : all_of(root)) {
    for (const Command& sub : command->commands) {
      text += "      " + in_quotes(command->path + " " + std::string(sub.name())) +
              ") command=" + in_quotes(sub.path) + " ;;\n";
    }
  }
  return text + "      *' --') " + otherwise + "; return ;;\n    esac\n";
}

const Flag* positional_of(const Command& command) {
  const auto found = std::find_if(command.flags.begin(), command.flags.end(),
                                  [](const Flag& flag) { return flag.names.empty(); });
  return found == command.flags.end() ? nullptr : &*found;
}

std::string bash_script(const Command& root) {
  std::string text =
      "# bash completion of cohort, from 'cohort completion bash'\n"
      "_cohort() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
      "  local command='' words='' files='' i\n"
      "  # The shell takes '--flag=value' as three words.\n"
      "  if [[ $word == = ]]; then word=''; fi\n"
      "  if [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n";
  text += find_command(root, "${COMP_WORDS[i]}", "compopt -o default 2> /dev/null");
  text += "  done\n  case \"$command $before\" in\n";
  text += choice_lines(root, "mapfile -t COMPREPLY < <(compgen -W 'WORDS' -- \"$word\")");
  const std::string names = "compopt -o filenames 2> /dev/null; mapfile -t COMPREPLY < <(compgen ";
  text += case_line(places_of(root, Value::file), names + "-f -- \"$word\")");
  text += case_line(places_of(root, Value::folder), names + "-d -- \"$word\")");
  text += case_line(places_of(root, Value::text), ":");
  text += "  esac\n  case \"$command\" in\n";
  for (const Command* command : all_of(root)) {
    std::vector<std::string> words;
    for (const Command& sub : command->commands) words.emplace_back(sub.name());
    for (const Flag& flag : command->flags) {
      words.insert(words.end(), flag.names.begin(), flag.names.end());
    }
    const Flag* positional = positional_of(*command);
    if (positional != nullptr) {
      words.insert(words.end(), positional->choices.begin(), positional->choices.end());
    }
    const bool is_file = positional != nullptr && positional->value == Value::file;
    text += "    " + in_quotes(command->path) + ") words='" + joined(words) + "'" +
            (is_file ? " files=yes" : "") + " ;;\n";
  }
  return text +
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
         "  if [[ $files && $word != -* ]]; then\n"
         "    compopt -o filenames 2> /dev/null\n"
         "    mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
         "  fi\n"
         "}\n"
         "complete -F _cohort cohort\n";
}

/// `'--model:Model file (GGUF)'`: what zsh's _describe takes.
std::string zsh_entry(std::string_view name, const std::string& description) {
  std::string text;
  for (const char letter : name) text += letter == ':' ? "\\:" : std::string(1, letter);
  return in_quotes(text + ":" + description);
}

std::string zsh_script(const Command& root) {
  std::string text =
      "#compdef cohort\n"
      "# zsh completion of cohort, from 'cohort completion zsh'\n"
      "_cohort() {\n"
      "  local command='' before=${words[CURRENT-1]} i\n"
      "  local -a entries\n"
      "  for ((i = 2; i < CURRENT; ++i)); do\n";
  text += find_command(root, "${words[i]}", "_normal");
  text += "  done\n  case \"$command $before\" in\n";
  text += choice_lines(root, "compadd -- WORDS");
  text += case_line(places_of(root, Value::file), "_files");
  text += case_line(places_of(root, Value::folder), "_files -/");
  text += case_line(places_of(root, Value::text), ":");
  text += "  esac\n  case \"$command\" in\n";
  for (const Command* command : all_of(root)) {
    std::vector<std::string> entries;
    for (const Command& sub : command->commands) {
      entries.push_back(zsh_entry(sub.name(), sub.description));
    }
    for (const Flag& flag : command->flags) {
      for (const std::string& name : flag.names) {
        entries.push_back(zsh_entry(name, flag.description));
      }
    }
    const Flag* positional = positional_of(*command);
    std::string more;
    if (positional != nullptr && positional->value == Value::file) more = "; _files";
    if (positional != nullptr && positional->value == Value::choice) {
      more = "; compadd -- " + joined(positional->choices);
    }
    text += "    " + in_quotes(command->path) + ")\n      entries=(\n        " +
            joined(entries, "\n        ") + "\n      )" + more + " ;;\n";
  }
  return text +
         "  esac\n"
         "  _describe -o 'cohort' entries\n"
         "}\n"
         "if [[ ${funcstack[1]} == _cohort ]]; then _cohort \"$@\"; else compdef _cohort cohort; "
         "fi\n";
}

std::string fish_flag(const Command& command, const Flag& flag) {
  // In fish's quotes a backslash stands for itself unless a quote or another follows.
  std::string text = "complete -c cohort -n 'test (__cohort_command) = \"" + command.path + "\"'";
  for (const std::string& name : flag.names) {
    text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  switch (flag.value) {
    case Value::none: break;
    case Value::text: text += " -x"; break;
    case Value::choice: text += " -xa '" + joined(flag.choices) + "'"; break;
    case Value::program: text += " -xa '(__fish_complete_command)'"; break;
    case Value::file: text += flag.names.empty() ? " -F" : " -rF"; break;
    case Value::folder: text += " -xa '(__fish_complete_directories)'"; break;
  }
  return text + " -d " + in_quotes(flag.description, "\\'") + "\n";
}

std::string fish_script(const Command& root) {
  std::string text =
      "# fish completion of cohort, from 'cohort completion fish'\n"
      "function __cohort_command\n"
      "  set -l command ''\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch \"$command $word\"\n";
  for (const Command* command : all_of(root)) {
    for (const Command& sub : command->commands) {
      text += "      case " + in_quotes(command->path + " " + std::string(sub.name())) +
              "\n        set command " + in_quotes(sub.path) + "\n";
    }
  }
  text += "    end\n  end\n  echo $command\nend\ncomplete -c cohort -f\n";
  for (const Command* command : all_of(root)) {
    for (const Command& sub : command->commands) {
      text += "complete -c cohort -n 'test (__cohort_command) = \"" + command->path + "\"' -a " +
              in_quotes(sub.name()) + " -d " + in_quotes(sub.description, "\\'") + "\n";
    }
    for (const Flag& flag : command->flags) text += fish_flag(*command, flag);
  }
  return text;
}

}  // namespace

const std::vector<std::string>& completion_shells() {
  static const std::vector<std::string> shells{"bash", "zsh", "fish"};
  return shells;
}

std::string completion_script(const CLI::App& app, std::string_view shell) {
  const Command root = command_of(app, "");
  if (shell == "bash") return bash_script(root);
  if (shell == "zsh") return zsh_script(root);
  if (shell == "fish") return fish_script(root);
  throw Error(ErrorCode::usage,
              "completion for '" + std::string(shell) + "' is not known; give one of " +
                  joined(completion_shells(), ", "),
              std::nullopt, "arguments");
}

void add_completion_command(CLI::App& app, std::ostream& output) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("completion", "Print a script that completes this command in a shell");
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember(completion_shells()))
      ->type_name("SHELL");
  command->footer(kFooter);
  command->callback([&app, shell, &output] { output << completion_script(app, *shell); });
}

}  // namespace cohort
