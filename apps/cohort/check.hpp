#pragma once

#include <iosfwd>

#include "generate.hpp"

namespace CLI {
class App;
}

namespace cohort {

/// Adds `cohort check`: probes the machine, really runs ranks, and says what each finding means.
void add_check_command(CLI::App& app, const ProgramArguments& arguments, std::ostream& output,
                       std::ostream& errors);

}  // namespace cohort
