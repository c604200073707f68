#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace cohort {

/// The shells that `completion_script` knows.
const std::vector<std::string>& completion_shells();

/// A script that completes commands, flags and the values of flags in `shell`, made from the flags
/// that `app` takes. Local. Throws: Error{usage} for a shell that is not known.
std::string completion_script(const CLI::App& app, std::string_view shell);

/// Adds `completion`: prints such a script. `output` must outlive the parse.
void add_completion_command(CLI::App& app, std::ostream& output);

}  // namespace cohort
