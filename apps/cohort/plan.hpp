#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cohort {

/// Adds `plan`: prints the slots, groups, offsets and footprint of a model's engine in a layout to
/// `output`, which must outlive the parse. Starts no ranks. Local.
void add_plan_command(CLI::App& app, std::ostream& output);

}  // namespace cohort
