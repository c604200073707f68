#include "pasted_program.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include "model/printable.hpp"

namespace cohort {

namespace {

// A script in a script: nobody nests deeper.
constexpr int kScriptDepthMax = 2;

std::string base_name(const std::string& word) {
  return word.substr(word.rfind('/') + 1);
}

/// Where a command's program stands: its first word and the one behind its last.
struct Place {
  PastedEngine engine = PastedEngine::sglang;
  std::size_t begin = 0;
  std::size_t end = 0;
};

std::optional<Place> find_command(const ShellCommand& words) {
  for (std::size_t at = 0; at < words.size(); ++at) {
    const std::string& word = words[at];
    const std::string name = base_name(word);
    const bool serves = at + 1 < words.size() && words[at + 1] == "serve";
    if (word == "sglang.launch_server" || name == "launch_server.py") {
      return Place{PastedEngine::sglang, at, at + 1};
    }
    if (name == "sglang" && serves) return Place{PastedEngine::sglang, at, at + 2};
    if (word == "vllm.entrypoints.openai.api_server" ||
        word.ends_with("vllm/entrypoints/openai/api_server.py")) {
      return Place{PastedEngine::vllm, at, at + 1};
    }
    if ((name == "vllm" || word == "vllm.entrypoints.cli.main") && serves) {
      return Place{PastedEngine::vllm, at, at + 2};
    }
  }
  return std::nullopt;
}

/// vLLM's image starts the server by itself: `docker run vllm/vllm-openai:latest --model M`.
std::optional<Place> find_image(const ShellCommand& words) {
  const auto run = std::find(words.begin(), words.end(), "run");
  for (auto word = run; word != words.end(); ++word) {
    const std::string name = base_name(*word);
    if (word->starts_with("-") || !name.starts_with("vllm-openai")) continue;
    // What comes before the flags is all of it.
    const auto behind = static_cast<std::size_t>(word - words.begin()) + 1;
    return Place{PastedEngine::vllm, behind, behind};
  }
  return std::nullopt;
}

bool is_shell(const std::string& word) {
  const std::string name = base_name(word);
  return name == "sh" || name == "bash" || name == "dash" || name == "zsh";
}

/// The word that is a piece of shell of its own, or the number of words.
std::size_t find_script(const ShellCommand& words) {
  for (std::size_t shell = 0; shell < words.size(); ++shell) {
    if (!is_shell(words[shell])) continue;
    std::size_t at = shell + 1;
    while (at < words.size() && words[at].starts_with("-") && !words[at].ends_with("c")) ++at;
    if (at + 1 < words.size() && words[at].starts_with("-")) return at + 1;
  }
  const bool is_remote = base_name(words.front()) == "ssh" && words.size() > 2;
  return is_remote ? words.size() - 1 : words.size();
}

bool is_variable(const std::string& word) {
  const std::size_t equals = word.find('=');
  if (equals == 0 || equals == std::string::npos) return false;
  return std::all_of(
      word.begin(), word.begin() + static_cast<std::ptrdiff_t>(equals), [](char letter) {
        return letter == '_' || std::isalnum(static_cast<unsigned char>(letter)) != 0;
      });
}

/// Where the interpreter of a module or script begins; `program` if none stands before it.
std::size_t interpreter_of(const ShellCommand& words, std::size_t program) {
  std::size_t at = program;
  while (at > 0 && words[at - 1].starts_with("-")) --at;
  if (at > 0 && base_name(words[at - 1]).starts_with("python")) return at - 1;
  return program > 0 && words[program - 1] == "-m" ? program - 1 : program;
}

/// The words before a program: each variable, and in one piece what starts it.
std::vector<std::string> describe_before(const ShellCommand& words, std::size_t program) {
  std::vector<std::string> before;
  std::size_t at = 0;
  for (; at < program; ++at) {
    const std::string& word = words[at];
    if (is_variable(word)) {
      before.push_back(word);
    } else if (word != "env" && word != "exec" && word != "$") {
      break;
    }
  }
  std::string starter;
  for (const std::size_t end = interpreter_of(words, program); at < end; ++at) {
    starter += (starter.empty() ? "" : " ") + words[at];
  }
  if (!starter.empty()) before.push_back(starter);
  return before;
}

bool has_torchrun(const ShellCommand& words, std::size_t end) {
  return std::any_of(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const std::string& word) {
                       return base_name(word) == "torchrun" || word == "torch.distributed.run" ||
                              word == "torch.distributed.launch";
                     });
}

void collect(std::string_view text, int depth, std::vector<PastedProgram>& found) {
  bool follows = false;
  for (const ShellCommand& words : split_shell_commands(text)) {
    // A line that begins with a flag is no command: its backslash was lost on the way.
    if (follows && words.front().starts_with("-")) {
      ShellCommand& flags = found.back().words;
      flags.insert(flags.end(), words.begin(), words.end());
      continue;
    }
    auto place = find_command(words);
    const std::size_t script = find_script(words);
    if (!place && script < words.size() && depth < kScriptDepthMax) {
      const std::size_t first = found.size();
      collect(words[script], depth + 1, found);
      const auto outer = describe_before(words, script);
      for (std::size_t at = first; at < found.size(); ++at) {
        found[at].before.insert(found[at].before.begin(), outer.begin(), outer.end());
        found[at].under_torchrun |= has_torchrun(words, script);
      }
      follows = false;
      if (found.size() > first) continue;
    }
    if (!place) place = find_image(words);
    follows = place.has_value();
    if (!place) continue;
    const auto rest = words.begin() + static_cast<std::ptrdiff_t>(place->end);
    found.push_back({place->engine,
                     {rest, words.end()},
                     describe_before(words, place->begin),
                     has_torchrun(words, place->begin)});
  }
}

}  // namespace

std::vector<PastedProgram> find_programs(std::string_view text) {
  std::vector<PastedProgram> found;
  collect(text, 0, found);
  // They are listed and quoted: what was pasted from anywhere must not steer a terminal.
  for (PastedProgram& program : found) {
    std::ranges::transform(program.words, program.words.begin(), printable);
    std::ranges::transform(program.before, program.before.begin(), printable);
  }
  return found;
}

}  // namespace cohort
