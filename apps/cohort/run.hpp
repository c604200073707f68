#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cohort {

/// Adds `run`: starts N ranks of any program and ends when all have ended, with one line on
/// `errors` about the first that failed. With `--json` the outcome goes to `output`. Both streams
/// must outlive the parse. Throws ExitStatus where the ranks' exit code is not 0. Local.
void add_run_command(CLI::App& app, std::ostream& output, std::ostream& errors);

}  // namespace cohort
