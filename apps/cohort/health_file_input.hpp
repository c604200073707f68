#pragma once

#include <string>

#include <cohort/health.hpp>

namespace cohort {

/// What `to_json(Health)` wrote, as a value again. Pure.
/// Throws: Error{corrupt} naming `source` and the field that is missing or makes no sense,
/// Error{unsupported} for another schema.
Health health_from_json(const std::string& text, const std::string& source);

/// A file's whole content. Throws: Error{usage} naming the file if it cannot be read.
std::string read_health_file(const std::string& path);

/// Makes the ranks that this process starts from now on keep `path` as their health file; an empty
/// path changes nothing. Throws: Error{usage} naming the flag if no file can be made there.
void use_health_file(const std::string& path);

}  // namespace cohort
