#pragma once

#include <string>

#include "pasted_command.hpp"

namespace cohort {

/// What was read from a pasted command, and what was not, as lines for people. Pure.
std::string pasted_as_text(const PastedCommand& pasted);

/// The same as a JSON object. Pure.
std::string pasted_as_json(const PastedCommand& pasted);

}  // namespace cohort
