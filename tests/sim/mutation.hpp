#pragma once

// One rank that does something else than the others, and what must come of it.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sim/program.hpp"

namespace cohort::sim {

enum class MutationKind : std::uint8_t {
  skip,
  add,
  resize,
  reorder,
  group,
  lane,
  slot,
  offset,
  dtype,
  reduce_op,
  root,
};
inline constexpr std::size_t kMutationKinds = 11;
const char* to_string(MutationKind kind) noexcept;

struct Mutation {
  MutationKind kind = MutationKind::skip;
  WorldRank rank;
  Layout layout;
  std::vector<std::vector<Step>> programs;  ///< by rank; all but one the same
  std::string text;                         ///< "rank 3, resize at step 4: ..."
};

/// Seeds go through all kinds in turn.
Mutation random_mutation(std::uint32_t rank_count, std::uint64_t seed);

/// How a job must end.
enum class Outcome : std::uint8_t { well, mismatch, timeout };
const char* to_string(Outcome outcome) noexcept;

/// What a rank called last on each lane of its groups of several members.
using LastCalls = std::map<std::pair<GroupKind, std::uint32_t>, Op>;

struct Foretold {
  Outcome outcome = Outcome::well;
  /// The programs, where each call knows which calls it meets. Two calls that look alike meet even
  /// if their callers meant different ones: no header can tell, and each gets the other's values.
  std::vector<std::vector<Step>> programs;
  std::vector<LastCalls> last_calls;  ///< by rank, when no rank can go on
};

/// What the calls of these programs come to, told from the programs alone: which calls wait for
/// which, and which of those that meet differ in anything their members must agree on. All
/// schedules end alike, because a call ends only once all its members have come to it.
Foretold foretell(const Layout& layout, std::span<const std::vector<Step>> programs);

}  // namespace cohort::sim
