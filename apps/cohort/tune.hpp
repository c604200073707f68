#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cohort {

/// Adds `tune`: measures every path of every collective on this machine, prints which is the best
/// to `output` and writes the table that `--path-table` reads. Progress goes to `errors`; both must
/// outlive the parse. Local.
void add_tune_command(CLI::App& app, std::ostream& output, std::ostream& errors);

}  // namespace cohort
