#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cohort {

/// Adds `bench`: times the collectives side by side with other libraries', results checked first.
/// Tables or JSON go to `output`, progress to `errors`; both must outlive the parse. In a process
/// that `bench` itself started, the command is one measured rank instead.
void add_bench_command(CLI::App& app, std::ostream& output, std::ostream& errors);

}  // namespace cohort
