#include "command_line.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>
#include <cohort/version.hpp>

#include "base/wrapped.hpp"
#include "bench.hpp"
#include "check.hpp"
#include "completion.hpp"
#include "error_output.hpp"
#include "exit_status.hpp"
#include "faults.hpp"
#include "file_flags.hpp"
#include "generate.hpp"
#include "groups.hpp"
#include "health.hpp"
#include "help_formatter.hpp"
#include "manual.hpp"
#include "nearest.hpp"
#include "output_file.hpp"
#include "plan.hpp"
#include "rendezvous/torchrun.hpp"
#include "run.hpp"
#include "settings.hpp"
#include "tune.hpp"

namespace cohort {

namespace {

constexpr const char* kDescription =
    "cohort " COHORT_VERSION ": symmetric memory and collectives for models served over many ranks";

constexpr const char* kTryNext = R"(Try next:
  cohort check --ranks 4
      Can ranks run on this machine, and how well? Needs no model and no GPU.
  cohort groups --tp 4 --attn-dp 2 --attn-cp 2
      Which ranks of a layout work together, and for what.
  cohort generate --model FILE.gguf --tp 4 --chat --prompt "Hello"
      A model over 4 ranks writes, and a table shows what they exchanged.
)";

constexpr const char* kFooter = R"(
'cohort COMMAND --help' explains the flags of one command, with examples.
'cohort completion bash' (or zsh, fish) prints what completes them in a shell.

Every command ends with 0 when it has done what it was asked for, with 2 for flags, files or an
environment that it cannot use, and with 1 for all else; its help says more. Errors are one line on
standard error, or with --json one JSON document on standard output.
The environment variable COHORT_DEADLINE_SCALE=10 makes every deadline ten times as long: for
profilers, debuggers and slow machines. NO_COLOR=1 takes the colours away. Every flag but --device
also has a variable, such as COHORT_TP for --tp, and --config FILE.toml reads flags from a file.)";

/// Every subcommand, in the order of the help text.
void add_commands(CLI::App& app, const ProgramArguments& arguments, std::ostream& output,
                  std::ostream& errors) {
  add_generate_command(app, arguments, output, errors);
  add_groups_command(app, output);
  add_plan_command(app, output);
  add_run_command(app, output, errors);
  add_health_command(app, output);
  add_check_command(app, arguments, output, errors);
  add_bench_command(app, output, errors);
  add_tune_command(app, output, errors);
  add_faults_command(app, output, errors);
  add_completion_command(app, output);
  add_manual_command(app, output);
}

void build(CLI::App& app, const ProgramArguments& arguments, std::ostream& output,
           std::ostream& errors) {
  app.set_version_flag("--version", "cohort " COHORT_VERSION, "Print the version");
  app.require_subcommand(0, 1);
  app.formatter(help_formatter());
  app.footer(std::string(kTryNext) + kFooter);
  add_commands(app, arguments, output, errors);
  add_config_flag(app);
}

/// Fills `settings`: the command line with what environment and file add to it.
void complete(int argument_count, const char* const* arguments, std::ostream& output,
              std::ostream& errors, Settings& settings) {
  // The ranks of `bench` are told all by their command.
  if (std::getenv("COHORT_BENCH_SOCKET") != nullptr) {
    settings.arguments = {arguments, arguments + argument_count};
    return;
  }
  CLI::App app(kDescription, "cohort");
  build(app, {argument_count, arguments}, output, errors);
  complete_command_line(
      app, argument_count, arguments, [](const char* name) { return std::getenv(name); }, settings);
}

/// Commands that start their ranks themselves would do so once for each of torchrun's.
void refuse_under_torchrun(const std::string& command) {
  const std::vector<std::string> starters{"run", "check", "bench", "bench layer", "tune", "faults"};
  if (std::find(starters.begin(), starters.end(), command) == starters.end()) return;
  std::optional<rendezvous::TorchrunEnvironment> torchrun;
  try {
    torchrun = rendezvous::torchrun_environment();
  } catch (const Error&) {
    // Whatever those variables mean, ranks that the command starts do not read them.
  }
  if (!torchrun || torchrun->rank_count == 1) return;
  throw Error(ErrorCode::usage,
              "'cohort " + command +
                  "' starts its ranks itself, and RANK=" + std::to_string(torchrun->rank.index()) +
                  " with WORLD_SIZE=" + std::to_string(torchrun->rank_count) +
                  " says that torchrun has started it: run it without torchrun",
              std::nullopt, "arguments");
}

bool wants_json(int argument_count, const char* const* arguments) {
  for (int i = 1; i < argument_count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--") return false;
    if (argument == "--json") return true;
  }
  return false;
}

std::vector<std::string> flags_of(const CLI::App& command) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

std::string with_nearest(std::string text, const std::string& word,
                         const std::vector<std::string>& candidates) {
  if (const auto best = nearest(word, candidates)) text += "; did you mean '" + *best + "'?";
  return text;
}

/// What is wrong with the first argument that nothing took, or nothing if all were taken. CLI11's
/// own message names neither the command nor a remedy.
std::optional<std::string> describe_leftover(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  const CLI::App* command = chosen.empty() ? nullptr : chosen.front();
  std::string name = command == nullptr ? "" : command->get_name();
  std::vector<std::string> left = app.remaining();
  if (!left.empty()) {
    const std::string word = left.front().substr(0, left.front().find('='));
    if (word.starts_with("-")) {
      if (command != nullptr) return "flag '" + word + "' must come after the command's name";
      return with_nearest("unknown flag '" + word + "'", word, flags_of(app));
    }
    if (command != nullptr) return "unexpected argument '" + word + "' before the command's name";
    std::vector<std::string> names;
    for (const CLI::App* known : app.get_subcommands({})) names.push_back(known->get_name());
    const std::string text = "unknown command '" + word + "'";
    const std::string guess = with_nearest(text, word, names);
    return guess == text ? text + "; 'cohort --help' lists all" : guess;
  }
  if (command == nullptr) return std::nullopt;
  while (!command->get_subcommands().empty() && command->remaining().empty()) {
    command = command->get_subcommands().front();
    name += " " + command->get_name();
  }
  if ((left = command->remaining()).empty()) return std::nullopt;
  const std::string place = " for 'cohort " + name + "'";
  const std::string word = left.front().substr(0, left.front().find('='));
  if (word == "--") return std::nullopt;  // what is wrong came before it
  if (!word.starts_with("-")) return "unexpected argument '" + word + "'" + place;
  return with_nearest("unknown flag '" + word + "'" + place, word, flags_of(*command));
}

/// What the command is for and what to try, shorter than its help.
void print_welcome(const CLI::App& app, std::ostream& output) {
  for (const std::string& line : wrapped(app.get_description(), kTextColumns)) {
    output << line << '\n';
  }
  output << '\n' << kTryNext << "\nCommands:\n";
  constexpr std::size_t kNameColumns = 14;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_group().empty()) continue;
    std::string line = "  " + command->get_name();
    line.resize(kNameColumns, ' ');
    for (const std::string& part :
         wrapped(command->get_description(), kTextColumns - kNameColumns)) {
      output << line << part << '\n';
      line.assign(kNameColumns, ' ');
    }
  }
  output << "\n'cohort --help' and 'cohort COMMAND --help' say more.\n";
}

/// Where a command was given nothing and needs something: what it needs, and its examples.
void print_needs(const CLI::App& command, std::ostream& errors) {
  const std::string name = full_name(command);
  errors << '\n' << name << " needs at least:\n";
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_required()) continue;
    const OptionWords words = option_words(*option);
    errors << "  " << option->get_name(/*positional=*/false, /*all_options=*/true)
           << (words.value.empty() ? "" : " ") << words.value << '\n';
    for (const std::string& line : wrapped(words.description, kTextColumns - 6)) {
      errors << "      " << line << '\n';
    }
  }
  const std::string footer = command.get_footer();
  const std::size_t examples = footer.find("Examples:");
  if (examples != std::string::npos) errors << '\n' << footer.substr(examples) << '\n';
  errors << "\n'" << name << " --help' explains every flag.\n" << std::flush;
}

/// The command of a line that holds nothing else, e.g. `cohort generate`; null for any other.
const CLI::App* bare_command(const CLI::App& app, int argument_count) {
  int words = 1;
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    ++words;
  }
  return words > 1 && words == argument_count ? command : nullptr;
}

/// The name of the chosen command, e.g. "bench layer", or nothing.
std::string chosen_name(const CLI::App& app) {
  std::string name;
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    name += (name.empty() ? "" : " ") + command->get_name();
  }
  return name;
}

/// CLI11 says what is wrong with a value, but neither what the flag takes nor where that is told.
std::string describe_mistake(const CLI::ParseError& error, const CLI::App& app) {
  std::string text = error.what();
  constexpr std::string_view kConvert = "Could not convert: ";
  constexpr std::string_view kTwice = ": At Most 1 required but received ";
  const std::size_t equals = text.find(" = ");
  const std::size_t twice = text.find(kTwice);
  if (text.starts_with(kConvert) && equals != text.npos) {
    text = text.substr(kConvert.size(), equals - kConvert.size()) + ": '" +
           text.substr(equals + 3) + "' is no value that it takes";
  } else if (twice != text.npos) {
    text = text.substr(0, twice) + " takes one value, and is given " +
           text.substr(twice + kTwice.size());
  } else if (dynamic_cast<const CLI::RequiredError*>(&error) == nullptr &&
             dynamic_cast<const CLI::ArgumentMismatch*>(&error) == nullptr) {
    return text;  // of a check of ours, which says it all
  }
  const std::string name = chosen_name(app);
  return text + "; see 'cohort " + (name.empty() ? "" : name + " ") + "--help'";
}

void parse_and_run(CLI::App& app, int argument_count, const char* const* arguments,
                   std::ostream& output, std::ostream& errors) {
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::Success& request) {
    app.exit(request, output, errors);
    return;
  } catch (const CLI::RequiredError& error) {
    const CLI::App* command = bare_command(app, argument_count);
    if (command == nullptr) {
      throw Error(ErrorCode::usage, describe_leftover(app).value_or(describe_mistake(error, app)),
                  std::nullopt, "arguments");
    }
    const Error said(ErrorCode::usage, error.what(), std::nullopt, "arguments");
    print_error(said, /*json=*/false, errors);
    print_needs(*command, errors);
    throw ExitStatus{said.exit_code()};
  } catch (const CLI::ParseError& error) {
    std::string message = describe_leftover(app).value_or(describe_mistake(error, app));
    std::replace(message.begin(), message.end(), '\n', ' ');
    throw Error(ErrorCode::usage, message, std::nullopt, "arguments");
  }
  if (app.get_subcommands().empty()) print_welcome(app, output);
}

}  // namespace

int run_command_line(int argument_count, const char* const* arguments, std::ostream& output,
                     std::ostream& errors) {
  bool json = wants_json(argument_count, arguments);
  Settings settings;
  const auto report = [&](const Error& error) {
    const Error explained(error.code(), settings.explain(error.what()), error.rank(),
                          error.phase());
    // Where standard output takes nothing any more, the other one says so.
    const bool as_json = (json || settings.json) && output;
    print_error(explained, as_json, as_json ? output : errors);
    return error.exit_code();
  };
  try {
    complete(argument_count, arguments, output, errors, settings);
    std::vector<const char*> words;
    for (const std::string& word : settings.arguments) words.push_back(word.c_str());
    const int word_count = static_cast<int>(words.size());
    json = wants_json(word_count, words.data());
    refuse_under_torchrun(settings.command);
    CLI::App app(kDescription, "cohort");
    build(app, {word_count, words.data()}, output, errors);
    app.parse_complete_callback([&] { check_file_flags(app, settings.config_file); });
    parse_and_run(app, word_count, words.data(), output, errors);
    require_written(output);
    return 0;
  } catch (const ExitStatus& status) {
    output.flush();
    return status.code;
  } catch (const Error& error) {
    return report(error);
  } catch (const std::bad_alloc&) {
    return report(Error(ErrorCode::out_of_memory,
                        "out of memory; give the command more, or less to do: fewer ranks, a "
                        "shorter context, fewer sequences"));
  } catch (const std::exception& error) {
    return report(Error(ErrorCode::system, std::string("unexpected: ") + error.what()));
  }
}

}  // namespace cohort
