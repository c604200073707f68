#pragma once

// The command as a call within the test: its exit code and what it printed.

#include <sstream>
#include <string>
#include <vector>

#include "command_line.hpp"

namespace cohort::test {

struct CommandOutcome {
  int exit_code = 0;
  std::string output;
  std::string errors;
};

/// `words` as they stand behind the command's name.
inline CommandOutcome run_command(const std::vector<std::string>& words) {
  std::vector<const char*> arguments{"cohort"};
  for (const std::string& word : words) arguments.push_back(word.c_str());
  std::ostringstream output;
  std::ostringstream errors;
  const int exit_code =
      run_command_line(static_cast<int>(arguments.size()), arguments.data(), output, errors);
  return {exit_code, output.str(), errors.str()};
}

/// `flags`, cut at blanks, behind `words`.
inline CommandOutcome run_command(std::vector<std::string> words, const std::string& flags) {
  std::istringstream stream(flags);
  for (std::string word; stream >> word;) words.push_back(word);
  return run_command(words);
}

}  // namespace cohort::test
