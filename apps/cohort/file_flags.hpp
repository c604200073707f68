#pragma once

#include <string>

namespace CLI {
class App;
}

namespace cohort {

/// Holds the flags of a parsed command line that name files against each other. `config_file` is
/// what settings were read from, empty if there was none. Local.
/// Throws: Error{usage} naming the flag that is given an empty name, or the two flags of one file
/// that the command is to write: of two files one would be lost.
void check_file_flags(const CLI::App& app, const std::string& config_file);

}  // namespace cohort
