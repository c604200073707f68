#pragma once

#include <cstddef>
#include <string>

namespace cohort {

/// Who reads a file: what the command and then its ranks read cannot be a pipe.
enum class InputReaders { command, ranks_too };

/// The whole of a file that a flag names. Local.
/// Throws: Error{usage} naming `what`, the file and the system's reason if it cannot be read, or if
/// it has more than `bytes_max` bytes, or is no regular file where ranks are to read it too.
std::string read_input_file(const std::string& what, const std::string& path, std::size_t bytes_max,
                            InputReaders readers);

}  // namespace cohort
