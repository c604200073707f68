#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cohort {

/// A process's arguments, the program's name first; its ranks are started with the same.
struct ProgramArguments {
  int count = 0;
  const char* const* values = nullptr;
};

/// Adds `generate`: runs a model over N ranks in any layout, streams the text and ends with the
/// communication table. The streams must outlive the parse. Throws ExitStatus where what went wrong
/// has been said already.
void add_generate_command(CLI::App& app, const ProgramArguments& arguments, std::ostream& output,
                          std::ostream& errors);

}  // namespace cohort
