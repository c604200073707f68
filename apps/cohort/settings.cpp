#include "settings.hpp"

#include <algorithm>
#include <cctype>
#include <memory>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

#include "config_file.hpp"
#include "nearest.hpp"
#include "opposites.hpp"

namespace cohort {

namespace {

using Lookup = std::function<const char*(const char*)>;

/// What a variable or an entry says of one flag.
struct Value {
  std::string place;
  Standing standing = Standing::above_tables;
  ConfigEntry::Kind kind = ConfigEntry::Kind::text;
  std::vector<std::string> values;
};

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "configuration");
}

bool is_flag(const CLI::Option& option) {
  return option.get_expected_min() == 0;
}

/// Positions have no name, and a file that names another file would be a maze.
bool is_configurable(const CLI::Option& option) {
  const auto& names = option.get_lnames();
  return !names.empty() && names.front() != "help" && names.front() != "config";
}

bool has_name(const CLI::Option& option, const std::string& name) {
  return std::ranges::find(option.get_lnames(), name) != option.get_lnames().end();
}

const CLI::Option* find_option(const CLI::App& command, const std::string& key) {
  for (const CLI::Option* option : command.get_options()) {
    if (is_configurable(*option) && has_name(*option, key)) return option;
  }
  return nullptr;
}

std::vector<const CLI::App*> commands_below(const CLI::App& app) {
  std::vector<const CLI::App*> all;
  for (const CLI::App* command : app.get_subcommands({})) {
    all.push_back(command);
    for (const CLI::App* inner : commands_below(*command)) all.push_back(inner);
  }
  return all;
}

/// "bench layer"; empty for the program itself.
std::string path_of(const CLI::App& command) {
  if (command.get_parent() == nullptr) return "";
  const std::string parent = path_of(*command.get_parent());
  return parent + (parent.empty() ? "" : " ") + command.get_name();
}

std::vector<std::string> keys_of(const CLI::App& command) {
  std::vector<std::string> keys;
  for (const CLI::Option* option : command.get_options()) {
    if (!is_configurable(*option)) continue;
    keys.insert(keys.end(), option->get_lnames().begin(), option->get_lnames().end());
  }
  return keys;
}

[[noreturn]] void refuse_word(const std::string& place, const std::string& problem,
                              const std::string& word, std::vector<std::string> known) {
  const auto best = nearest(word, known);
  refuse(place + ": " + problem + (best ? "; did you mean '" + *best + "'?" : ""));
}

/// Every entry must belong to a command, also to one that is not run now: a typing error must not
/// wait for its day.
void check_entry(const ConfigEntry& entry, const CLI::App& app, const std::string& place) {
  std::vector<std::string> names;
  std::vector<std::string> keys;
  bool known_command = entry.command.empty();
  for (const CLI::App* command : commands_below(app)) {
    names.push_back(path_of(*command));
    const bool meant = entry.command.empty() || entry.command == names.back();
    if (!meant) continue;
    known_command = true;
    if (entry.key.empty() || find_option(*command, entry.key) != nullptr) return;
    for (const std::string& key : keys_of(*command)) keys.push_back(key);
  }
  if (!known_command) {
    refuse_word(place, "there is no command '" + entry.command + "'", entry.command, names);
  }
  refuse_word(place,
              "there is no flag '" + entry.key + "'" +
                  (entry.command.empty() ? "" : " of 'cohort " + entry.command + "'"),
              entry.key, keys);
}

std::string variable_of(std::string key) {
  for (char& letter : key) {
    letter = letter == '-' ? '_' : static_cast<char>(std::toupper(letter));
  }
  return "COHORT_" + key;
}

/// Nothing for a variable that is empty: that is how one is switched off for one command.
const char* lookup_text(const Lookup& variable, const std::string& name) {
  // COHORT_DEVICE is the number of the GPU that a rank takes, not the kind of memory.
  if (name == "COHORT_DEVICE") return nullptr;
  const char* const text = variable(name.c_str());
  return text != nullptr && *text != '\0' ? text : nullptr;
}

/// Nothing for a text that is neither.
std::optional<bool> truth_of(const std::string& text) {
  if (text == "1" || text == "true" || text == "yes" || text == "on") return true;
  if (text == "0" || text == "false" || text == "no" || text == "off") return false;
  return std::nullopt;
}

std::optional<Value> from_environment(const CLI::Option& option, const Lookup& variable) {
  std::optional<Value> found;
  for (const std::string& key : option.get_lnames()) {
    const std::string name = variable_of(key);
    const char* const text = lookup_text(variable, name);
    if (text == nullptr) continue;
    if (found && found->values.front() != text) {
      refuse(name + "=" + text + " contradicts " + found->place + "=" + found->values.front() +
             ": both say --" + option.get_lnames().front());
    }
    found = Value{name, Standing::environment, ConfigEntry::Kind::text, {text}};
  }
  if (!found || !is_flag(option)) return found;
  const std::string& text = found->values.front();
  const auto truth = truth_of(text);
  if (!truth) {
    refuse(found->place + "=" + text + " is neither true nor false: --" +
           option.get_lnames().front() + " takes no value");
  }
  return Value{
      found->place, Standing::environment, ConfigEntry::Kind::boolean, {*truth ? "true" : "false"}};
}

/// The entry of a command's own table, else the one above all tables.
std::optional<Value> from_file(const CLI::Option& option, const std::string& command,
                               const std::vector<ConfigEntry>& entries, const std::string& file) {
  for (const std::string& table : {command, std::string()}) {
    const ConfigEntry* found = nullptr;
    for (const ConfigEntry& entry : entries) {
      if (entry.command != table || entry.key.empty() || !has_name(option, entry.key)) continue;
      if (found != nullptr) {
        refuse(file + ":" + std::to_string(entry.line) + ": " + entry.key + " and " + found->key +
               " of line " + std::to_string(found->line) + " are the same flag: give one of them");
      }
      found = &entry;
    }
    if (found == nullptr) continue;
    return Value{file + ":" + std::to_string(found->line),
                 table.empty() ? Standing::above_tables : Standing::own_table, found->kind,
                 found->values};
  }
  return std::nullopt;
}

/// The words that give a flag this value.
std::vector<std::string> words_of(const CLI::Option& option, Value value) {
  const std::string flag = "--" + option.get_lnames().front();
  const bool boolean = value.kind == ConfigEntry::Kind::boolean;
  if (is_flag(option) && !boolean) refuse(value.place + ": " + flag + " is true or false");
  if (is_flag(option)) {
    return value.values.front() == "true" ? std::vector{flag} : std::vector<std::string>{};
  }
  if (boolean) refuse(value.place + ": " + flag + " takes a value, not true or false");
  const bool repeated = option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
  if (value.kind == ConfigEntry::Kind::list && !repeated) {
    if (option.get_type_name().find("LIST") == std::string::npos) {
      refuse(value.place + ": " + flag + " takes one value, not a list");
    }
    std::string joined;
    for (const std::string& item : value.values) joined += (joined.empty() ? "" : ",") + item;
    value.values = {joined};
  }
  std::vector<std::string> words;
  for (const std::string& text : value.values) {
    if (text.empty()) {
      words.insert(words.end(), {flag, text});
    } else {
      words.push_back(flag + "=" + text);
    }
  }
  return words;
}

/// Ends a parse before any command runs.
struct Parsed {};

/// Whether text names a flag, and not merely one that begins like it.
bool names(const std::string& text, const std::string& flag) {
  for (std::size_t at = text.find(flag); at != std::string::npos; at = text.find(flag, at + 1)) {
    const char next = at + flag.size() < text.size() ? text[at + flag.size()] : ' ';
    const char before = at > 0 ? text[at - 1] : ' ';
    const auto in_word = [](char letter) {
      return letter == '-' || std::isalnum(static_cast<unsigned char>(letter)) != 0;
    };
    if (!in_word(next) && !in_word(before)) return true;
  }
  return false;
}

/// What the file says is in the line now, so ranks need not read it again.
void drop_config_flag(std::vector<std::string>& words) {
  for (auto word = words.begin(); word != words.end() && *word != "--";) {
    const bool alone = *word == "--config" && word + 1 != words.end();
    if (alone || word->starts_with("--config=")) {
      word = words.erase(word, word + (alone ? 2 : 1));
    } else {
      ++word;
    }
  }
}

/// What one command's flags are, wherever they are said.
class Source {
 public:
  Source(const CLI::App& command, const Lookup& variable)
      : command_(command), path_(path_of(command)), variable_(variable) {}

  /// Nothing for a flag that nobody gives.
  std::optional<Value> find(const CLI::Option& option) const {
    auto value = from_environment(option, variable_);
    if (!value) value = from_file(option, path_, entries_, file_);
    return value;
  }

  /// Reads the file that the line or the environment names, if one does.
  void read_file(const CLI::App& app) {
    std::string named_by;
    const CLI::Option* const config = command_.get_option("--config");
    if (config->count() > 1) refuse("--config is given more than once: a command takes one file");
    if (config->count() > 0) {
      file_ = config->results().front();
      if (file_.empty()) refuse("--config is empty: give it a FILE.toml, or leave it out");
      named_by = "--config " + file_;
    } else if (const char* text = lookup_text(variable_, "COHORT_CONFIG")) {
      file_ = text;
      named_by = "COHORT_CONFIG=" + file_;
    }
    if (file_.empty()) return;
    entries_ = read_config_file(file_, named_by);
    app_ = &app;
  }

  /// What was read, empty if nothing was.
  const std::string& file() const noexcept { return file_; }

  /// Every entry of the file, against all commands.
  void check_file() const {
    for (const ConfigEntry& entry : entries_) {
      check_entry(entry, *app_, file_ + ":" + std::to_string(entry.line));
    }
  }

  /// Whether --json is said. Of a variable or an entry that says neither yes nor no it is not:
  /// that is an error of its own.
  bool wants_json() const {
    const CLI::Option* const json = find_option(command_, "json");
    if (json == nullptr) return false;
    if (json->count() > 0) return true;
    try {
      const auto value = find(*json);
      return value && value->kind == ConfigEntry::Kind::boolean && value->values.front() == "true";
    } catch (const Error&) {
      return false;
    }
  }

 private:
  const CLI::App& command_;
  std::string path_;
  const Lookup& variable_;
  const CLI::App* app_ = nullptr;
  std::string file_;
  std::vector<ConfigEntry> entries_;
};

/// What environment and file say of a command's flags, but for what the line or a higher place
/// says otherwise.
std::vector<std::pair<const CLI::Option*, Value>> values_that_count(const CLI::App& command,
                                                                    const Source& source) {
  std::vector<std::pair<const CLI::Option*, Value>> found;
  std::vector<GivenFlag> given;
  for (const CLI::Option* option : command.get_options()) {
    if (!is_configurable(*option)) continue;
    const std::string& name = option->get_lnames().front();
    if (option->count() > 0) {
      given.push_back({name, Standing::command_line, option->results().back()});
      continue;
    }
    auto value = source.find(*option);
    if (!value) continue;
    const bool off = value->kind == ConfigEntry::Kind::boolean && value->values.front() == "false";
    if (!off && !value->values.empty()) {
      given.push_back({name, value->standing, value->values.front()});
    }
    found.emplace_back(option, std::move(*value));
  }
  const std::vector<std::string> without = outranked(given);
  std::erase_if(found, [&](const auto& each) {
    return std::ranges::find(without, each.first->get_lnames().front()) != without.end();
  });
  return found;
}

void add_config_flag_below(CLI::App& app, const std::shared_ptr<std::string>& file) {
  for (CLI::App* command : app.get_subcommands({})) {
    command
        ->add_option("--config", *file,
                     "Take flags that are not given from this TOML file; variables of the "
                     "environment such as COHORT_TP come before it")
        ->type_name("FILE.toml");
    // The option's value lives as long as the command does.
    command->preparse_callback([file](std::size_t) {});
    add_config_flag_below(*command, file);
  }
}

}  // namespace

std::string Settings::explain(const std::string& message) const {
  std::string places;
  for (const Origin& origin : origins) {
    if (!names(message, origin.flag) || places.find(origin.flag + " is") != std::string::npos) {
      continue;
    }
    places += (places.empty() ? " (" : ", ") + origin.flag + " is from " + origin.place;
  }
  return message + places + (places.empty() ? "" : ")");
}

void add_config_flag(CLI::App& app) {
  add_config_flag_below(app, std::make_shared<std::string>());
}

void complete_command_line(CLI::App& app, int argument_count, const char* const* arguments,
                           const Lookup& variable, Settings& settings) {
  settings.arguments = {arguments, arguments + argument_count};
  // The callbacks of commands own what their options are stored in, so they stay as they are.
  app.parse_complete_callback([] { throw Parsed{}; });
  try {
    app.parse(argument_count, arguments);
  } catch (const Parsed&) {
  } catch (const CLI::Success&) {
    return;  // only help is asked for
  } catch (const CLI::ParseError&) {
    // Said by the parse that follows, unless what is added mends it.
  }
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  if (command == &app) {
    // No command is chosen, or none that there is: whoever sets the variable reads documents.
    const char* const text = lookup_text(variable, "COHORT_JSON");
    settings.json = text != nullptr && truth_of(text).value_or(false);
    return;
  }
  settings.command = path_of(*command);

  Source source(*command, variable);
  settings.json = source.wants_json();
  source.read_file(app);
  settings.json = source.wants_json();
  source.check_file();

  std::vector<std::string> added;
  std::vector<Settings::Origin> origins;
  for (auto& [option, value] : values_that_count(*command, source)) {
    origins.push_back({"--" + option->get_lnames().front(), value.place});
    for (std::string& word : words_of(*option, std::move(value))) added.push_back(std::move(word));
  }
  // Only now: errors so far name the place themselves.
  settings.origins = std::move(origins);
  drop_config_flag(settings.arguments);
  settings.config_file = source.file();
  // What stands behind "--" is another program's.
  const auto end = std::find(settings.arguments.begin(), settings.arguments.end(), "--");
  settings.arguments.insert(end, added.begin(), added.end());
}

}  // namespace cohort
