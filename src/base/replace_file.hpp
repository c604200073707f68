#pragma once

#include <string>
#include <string_view>

namespace cohort {

/// Where the symbolic links at `path` lead in the end, also if nothing is there yet. `path` itself
/// if it is no link, or if its links lead in a circle. Local.
std::string end_of_links(const std::string& path);

/// How a file lies in its folder until it is complete: without a name where the file system can do
/// that, or, as everywhere else, under a name of its own.
enum class Draft { unnamed, named };

/// Puts `text` in the place of a file, whole or not at all. Links stay links: what they lead to is
/// replaced. A file that is there keeps its permissions, a new one gets those of the umask. Of a
/// process that is killed meanwhile an unnamed draft leaves nothing. Local.
/// Returns 0 or the errno; EINVAL for a path that is there and no regular file.
int replace_file(const std::string& path, std::string_view text, Draft draft = Draft::unnamed);

}  // namespace cohort
