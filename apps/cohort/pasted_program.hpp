#pragma once

// Where in a pasted piece of shell a server is started.

#include <string>
#include <string_view>
#include <vector>

#include "shell_words.hpp"

namespace cohort {

enum class PastedEngine { sglang, vllm };

struct PastedProgram {
  PastedEngine engine = PastedEngine::sglang;
  ShellCommand words;               ///< what follows the program, printable, each cut at 240 bytes
  std::vector<std::string> before;  ///< variables that are set, and what starts it: "docker run x"
  bool under_torchrun = false;
};

/// The servers that a piece of shell starts, in its order: by module, by script, by the engine's
/// own command, by vLLM's image, also within `bash -c '...'` and `ssh host '...'`. Pure.
/// Throws: Error{usage} for quotes and substitutions that are not closed.
std::vector<PastedProgram> find_programs(std::string_view text);

}  // namespace cohort
