#pragma once

// Holds how mutated programs end against what must come of them.

#include <cstdint>
#include <string>

#include "sim/mutation.hpp"
#include "sim/world.hpp"

namespace cohort::sim {

/// Nothing if a run ended as foretold: well with right results; or with one error for all, a
/// mismatch that shows both sides or a timeout that names the mutated rank, and not one wrong
/// result before it. The timeout also tells that rank's last call on every lane.
std::string disagreement(const Mutation& mutation, const Foretold& foretold, const RunEnd& end);

/// Nothing if the text of a timeout tells what a rank called last on every lane, else what is
/// missing. `proved`: before the program, slots were proven by broadcasts on lane 0.
std::string missing_calls(const std::string& text, const Layout& layout, WorldRank rank,
                          const LastCalls& last_calls, bool proved);

/// How a mutated job ends if nobody compares headers.
enum class Unchecked : std::uint8_t {
  harmless,  ///< all results as they should be
  silent,    ///< wrong results, and nobody was told
  hang,      ///< until the deadline, perhaps after wrong results
  guarded,   ///< ended by another check, such as that of the arena's bounds
};
const char* to_string(Unchecked end) noexcept;
Unchecked classify(const RunEnd& end);

}  // namespace cohort::sim
