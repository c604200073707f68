#pragma once

// Three kernels in a row, the second of which does not wait for the first.

#include <cstdint>
#include <string>

namespace cohort::cuda {

enum class Launched {
  in_stream,  ///< one after the other
  in_graph,   ///< captured first, with the edges that capture makes of programmatic launches
};

/// What became of `rounds` rounds.
struct DependencyRun {
  std::string fault;           ///< empty, or the CUDA call that failed
  std::uint32_t early = 0;     ///< rounds whose last kernel did not see what the first one stored
  std::uint32_t overlaps = 0;  ///< rounds whose second kernel ran before the first had ended
};

/// On the device: `slow` lets its dependents start at once, works for some microseconds and stores;
/// `between` waits for nothing, or for `slow` if `between_waits`; `last` waits for `between` and
/// looks at what `slow` has stored. `programmatic`: each may start before the one ahead has ended.
DependencyRun run_dependency(std::uint32_t device, Launched launched, bool programmatic,
                             bool between_waits, std::uint32_t rounds);

}  // namespace cohort::cuda
