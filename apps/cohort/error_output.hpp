#pragma once

#include <iosfwd>

#include <cohort/error.hpp>

namespace cohort {

/// Prints an error for people as one line, "cohort: error: message", or for programs as one JSON
/// document {"error": {"code", "message", "rank", "phase"}}, `rank` and `phase` null where there is
/// none. Local.
void print_error(const Error& error, bool json, std::ostream& stream);

}  // namespace cohort
