#pragma once

// The command that starts a server of another engine, read for its layout.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <cohort/layout.hpp>

#include "layout_flags.hpp"

namespace cohort {

/// What `--from` was given.
struct PastedCommand {
  /// A flag that says something of the layout.
  struct Flag {
    std::string text;  ///< "--tp-size 8", as it stands there
    std::string own;   ///< "--tp 8", what it means here; empty if only `notes` say
  };

  std::string engine;  ///< "SGLang" or "vLLM"
  LayoutFlags layout;  ///< in this library's meaning; what is not said is empty
  std::vector<Flag> flags;
  std::vector<std::string> ignored;  ///< "--port 30000"
  std::vector<std::string> notes;    ///< where the two do not mean quite the same
};

/// Reads a command of SGLang (`python -m sglang.launch_server`, `sglang serve`) or of vLLM
/// (`vllm serve`, `python -m vllm.entrypoints.openai.api_server`), wherever it stands in the text.
/// Pure. Throws: Error{usage} for text without one or with several of different sizes, values that
/// are no counts, sizes that make too many ranks, and flags that contradict each other, naming
/// both.
PastedCommand read_pasted_command(const std::string& text);

/// The sizes of a command line: those of its own flags, which replace those of the pasted command,
/// if there is one; each that does gets a note there. Local.
/// Throws: what `LayoutFlags::sizes` throws.
LayoutSizes sizes_of(const LayoutFlags& flags, std::optional<PastedCommand>& pasted);

/// `Layout(sizes_of(flags, pasted))`, whose errors say also what was pasted.
Layout layout_of(const LayoutFlags& flags, std::optional<PastedCommand>& pasted);

}  // namespace cohort
