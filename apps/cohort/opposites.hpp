#pragma once

// Flags that contradict each other, given in places of different standing.

#include <span>
#include <string>
#include <vector>

namespace cohort {

/// Where a flag is given, the weakest first.
enum class Standing { above_tables, own_table, environment, command_line };

/// A flag that is given; one that is false is not.
struct GivenFlag {
  std::string name;  ///< "tp", without dashes
  Standing standing = Standing::above_tables;
  std::string value{};
};

/// Those of `given` that do not count, since one of higher standing says otherwise, or says the
/// same in other words. Of equal standing both count: whether they contradict each other is for
/// the command to say. Pure.
std::vector<std::string> outranked(std::span<const GivenFlag> given);

}  // namespace cohort
