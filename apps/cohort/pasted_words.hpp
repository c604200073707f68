#pragma once

// The flags of a pasted command, by what they are about.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pasted_program.hpp"

namespace cohort {

/// What a flag of an engine is about.
enum class Topic {
  tp,
  pp,
  dp,
  attn_dp,
  cp,
  ep,
  moe_dp,
  dcp,
  nodes,
  local_dp,
  dp_attention,
  a2a,
  experts
};

struct Given {
  std::string text;  ///< "--tp-size 8"
  std::string value;
  std::uint32_t count = 1;
};

/// The words behind a program, sorted.
struct Words {
  std::map<Topic, Given> given;
  std::vector<std::string> ignored;
  std::vector<std::string> notes;
};

/// Sorts the flags of a server. Spellings of the other engine that can mean only one thing are
/// taken with a note. Pure. Throws: Error{usage} for values that are no counts, a flag without its
/// value, and two values of one flag, naming both.
Words sort_words(const ShellCommand& words, PastedEngine engine);

std::string name_of(PastedEngine engine);

}  // namespace cohort
