#pragma once

#include <iosfwd>
#include <string>

namespace CLI {
class App;
}

namespace cohort {

/// The manual page of `app` and all its commands, in the language of man(7): the same text as its
/// help. Local.
std::string manual_page(const CLI::App& app);

/// Adds `manual`, which prints that page; help does not list it, the build runs it. `output` must
/// outlive the parse.
void add_manual_command(CLI::App& app, std::ostream& output);

}  // namespace cohort
