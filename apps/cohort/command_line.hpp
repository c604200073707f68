#pragma once

#include <iosfwd>

namespace cohort {

/// Parses a command line, runs the subcommand it names and returns the process's exit code.
///
/// No exception leaves it. An error is one line on `errors`; with `--json` it is one JSON document
/// on `output` instead, which carries nothing but JSON then. Wrong flags exit with 2. Local, but
/// for what the subcommand does.
int run_command_line(int argument_count, const char* const* arguments, std::ostream& output,
                     std::ostream& errors);

}  // namespace cohort
