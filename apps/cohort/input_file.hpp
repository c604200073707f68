#pragma once

#include <cstddef>
#include <string>

namespace cohort {

/// Who reads a file. What the command and then its ranks read cannot be a pipe that has a name;
/// standard input goes to the first rank.
enum class InputReaders { command, first_rank, all_ranks };

/// The whole of a file; `named_by` says to people what named it, e.g. "--prompts FILE". A pipe may
/// be silent for 30 s, by the deadline scale. A descriptor of this process that is a pipe, e.g.
/// /dev/fd/63, holds the text anew for ranks that are started later. Local. Throws: Error{usage}
/// with `named_by` and the system's reason if it cannot be read, or if it has more than `bytes_max`
/// bytes, or is no file that all `readers` can read.
std::string read_input_file(const std::string& named_by, const std::string& path,
                            std::size_t bytes_max, InputReaders readers);

}  // namespace cohort
