#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cohort {

/// Adds `health`: reads what a job's ranks write with --health-file, and prints it to `output`,
/// which must outlive the parse. Throws ExitStatus{1} unless the job is healthy or has ended in
/// order. Starts no ranks. Local.
void add_health_command(CLI::App& app, std::ostream& output);

}  // namespace cohort
