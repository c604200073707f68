#pragma once

#include <functional>
#include <iosfwd>

#include <cohort/layout.hpp>
#include <cohort/world.hpp>

#include "generate_options.hpp"
#include "generate_output.hpp"

namespace cohort {

/// Where rank 0 reads and writes; the other ranks leave these alone.
struct GenerateStreams {
  std::istream& input;
  std::ostream& output;  // completions as they come, unless --json
  std::ostream& errors;  // progress
};

/// Serves the prompts as one rank of the world: loads its part of the model, runs all requests and
/// gathers what the ranks' ledgers say. Rank 0 reads the prompts.
/// Collective over all ranks of `layout`. Throws: Error of any kind; the caller publishes it.
GenerateResult generate_on_rank(World& world, const GenerateFlags& flags, const Layout& layout,
                                const GenerateStreams& streams);

}  // namespace cohort
