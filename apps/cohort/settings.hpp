#pragma once

// Flags from the environment and from a file: what a command line leaves out is added to it, before
// it is parsed. Ranks that a command starts get the completed line, and so the same flags.

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace cohort {

/// A command line that holds what environment and file say besides.
struct Settings {
  /// Where a flag that was added comes from.
  struct Origin {
    std::string flag;   ///< "--tp"
    std::string place;  ///< "COHORT_TP" or "job.toml:3"
  };

  std::string command{};               ///< "bench layer"; empty if none is chosen
  std::vector<std::string> arguments;  ///< the program's name first
  std::string config_file{};           ///< what was read, if any
  std::vector<Origin> origins{};
  /// Whether --json is said, as far as that is known: errors before the end of it ask, too.
  bool json = false;

  /// `message` with the places of those added flags that it names.
  std::string explain(const std::string& message) const;
};

/// Adds `--config` to all commands of `app`. Local.
void add_config_flag(CLI::App& app);

/// Completes a command line: a flag that it does not give is taken from the environment, else from
/// the file that `--config` or COHORT_CONFIG names. `app` has all commands and is used up: it
/// parses the line, and runs none of them. `variable` looks up the environment. Reads the file.
/// `settings` holds what is known so far even where it throws. Local.
/// Throws: Error{usage, corrupt} naming file and line, or the variable.
void complete_command_line(CLI::App& app, int argument_count, const char* const* arguments,
                           const std::function<const char*(const char*)>& variable,
                           Settings& settings);

}  // namespace cohort
