#include "verbosity.hpp"

#include <string>

#include <CLI/CLI.hpp>

namespace cohort {

void add_verbosity_flags(CLI::App& command, Verbosity& verbosity, const char* quiet_means) {
  CLI::Option* quiet = command.add_flag("-q,--quiet", verbosity.quiet, quiet_means);
  command
      .add_flag("-v,--verbose", verbosity.verbose,
                "Say every step on standard error, one line each; without it long work shows how "
                "far it is, where that is a terminal")
      ->excludes(quiet);
}

}  // namespace cohort
