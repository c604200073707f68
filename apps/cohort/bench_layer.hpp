#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cohort {

/// Adds `layer` to the command `bench`: times what moves between the parts of decoder layers in a
/// decode step, results checked first. Table or JSON go to `output`, progress to `errors`; both
/// must outlive the parse.
void add_bench_layer_command(CLI::App& bench, std::ostream& output, std::ostream& errors);

}  // namespace cohort
