#pragma once

namespace CLI {
class App;
}

namespace cohort {

/// How much a command says besides its result and its errors.
struct Verbosity {
  bool quiet = false;    ///< nothing
  bool verbose = false;  ///< every step as a line of its own, wherever it is read
};

/// Adds --quiet and --verbose. `quiet_means` says what else --quiet leaves out.
void add_verbosity_flags(CLI::App& command, Verbosity& verbosity, const char* quiet_means);

}  // namespace cohort
