#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cohort {

/// One command of a shell, cut into words.
using ShellCommand = std::vector<std::string>;

/// The commands of a pasted piece of shell: quotes, backslashes, continued lines (also with blanks
/// behind the backslash, as they come from web pages), comments, and what separates commands.
/// Redirections are left out; nothing is expanded, so "$TP" and "$(nproc)" stay as they are. Pure.
/// Throws: Error{usage} for a quote or a substitution that is not closed.
std::vector<ShellCommand> split_shell_commands(std::string_view text);

}  // namespace cohort
