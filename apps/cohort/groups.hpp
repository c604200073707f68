#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cohort {

/// Adds `groups`: prints which ranks work together for a layout, as a table or as JSON, to
/// `output`, which must outlive the parse. Starts no ranks. Local.
void add_groups_command(CLI::App& app, std::ostream& output);

}  // namespace cohort
