#include "pasted_words.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string_view>

#include <cohort/error.hpp>
#include <cohort/layout.hpp>

namespace cohort {

namespace {

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "arguments");
}

struct Spelling {
  std::string_view name;
  Topic topic;
};

constexpr std::array kSglang{
    Spelling{"--tp", Topic::tp},
    Spelling{"--tp-size", Topic::tp},
    Spelling{"--tensor-parallel-size", Topic::tp},
    Spelling{"--pp", Topic::pp},
    Spelling{"--pp-size", Topic::pp},
    Spelling{"--pipeline-parallel-size", Topic::pp},
    Spelling{"--dp", Topic::dp},
    Spelling{"--dp-size", Topic::dp},
    Spelling{"--data-parallel-size", Topic::dp},
    Spelling{"--attn-dp-size", Topic::attn_dp},
    Spelling{"--attn-cp-size", Topic::cp},
    Spelling{"--attention-context-parallel-size", Topic::cp},
    Spelling{"--ep", Topic::ep},
    Spelling{"--ep-size", Topic::ep},
    Spelling{"--expert-parallel-size", Topic::ep},
    Spelling{"--moe-dp-size", Topic::moe_dp},
    Spelling{"--moe-data-parallel-size", Topic::moe_dp},
    Spelling{"--dcp-size", Topic::dcp},
    Spelling{"--decode-context-parallel-size", Topic::dcp},
    Spelling{"--nnodes", Topic::nodes},
    Spelling{"--enable-dp-attention", Topic::dp_attention},
    Spelling{"--moe-a2a-backend", Topic::a2a},
};

constexpr std::array kVllm{
    Spelling{"-tp", Topic::tp},        Spelling{"--tensor-parallel-size", Topic::tp},
    Spelling{"-pp", Topic::pp},        Spelling{"--pipeline-parallel-size", Topic::pp},
    Spelling{"-dp", Topic::dp},        Spelling{"--data-parallel-size", Topic::dp},
    Spelling{"-pcp", Topic::cp},       Spelling{"--prefill-context-parallel-size", Topic::cp},
    Spelling{"-dcp", Topic::dcp},      Spelling{"--decode-context-parallel-size", Topic::dcp},
    Spelling{"-n", Topic::nodes},      Spelling{"--nnodes", Topic::nodes},
    Spelling{"-dpl", Topic::local_dp}, Spelling{"--data-parallel-size-local", Topic::local_dp},
    Spelling{"-ep", Topic::experts},   Spelling{"--enable-expert-parallel", Topic::experts},
};

bool takes_value(Topic topic) {
  return topic != Topic::dp_attention && topic != Topic::experts;
}

std::uint32_t count_of(const std::string& text, const std::string& value) {
  std::uint32_t count = 0;
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, count);
  if (error != std::errc{} || stop != end || count == 0 || count > kWorldSizeMax) {
    refuse("--from: " + text + ": '" + value + "' is not a whole number from 1 to " +
           std::to_string(kWorldSizeMax) +
           (value.find_first_of("$`") == std::string::npos ? "" : "; put its value there"));
  }
  return count;
}

/// The flags of the engine whose command is read, and those of the other one.
struct Dialect {
  std::string engine;
  std::span<const Spelling> own;
  std::span<const Spelling> other;
};

const Spelling* spelling_of(const std::string& name, std::span<const Spelling> known) {
  for (const Spelling& spelling : known) {
    // Both engines take flags cut short: --tensor-parallel.
    const bool is_short = spelling.name.starts_with("--") && spelling.name == name + "-size";
    if (spelling.name == name || is_short) return &spelling;
  }
  return nullptr;
}

/// A spelling of the other engine, where it can mean only one thing: to ignore `-tp 8` would make
/// one rank of eight.
const Spelling* borrowed_spelling(const std::string& name, const Dialect& dialect) {
  constexpr std::array kShared{Topic::tp, Topic::pp, Topic::dp, Topic::dcp};
  const Spelling* const other = spelling_of(name, dialect.other);
  if (other == nullptr || std::ranges::find(kShared, other->topic) == kShared.end()) return nullptr;
  const Spelling* own = nullptr;
  for (const Spelling& spelling : dialect.own) {
    if (spelling.topic == other->topic) own = &spelling;
  }
  return own;
}

/// Word processors make dashes of hyphens.
void refuse_dash(const std::string& word) {
  for (const std::string_view dash : {"\xE2\x80\x93", "\xE2\x80\x94", "\xE2\x88\x92"}) {
    if (word.starts_with(dash)) {
      refuse("--from: '" + word + "' begins with a dash that is no hyphen: write -- or -");
    }
  }
}

}  // namespace

std::string name_of(PastedEngine engine) {
  return engine == PastedEngine::sglang ? "SGLang" : "vLLM";
}

Words sort_words(const ShellCommand& words, PastedEngine engine) {
  const bool sglang = engine == PastedEngine::sglang;
  const Dialect dialect =
      sglang ? Dialect{name_of(engine), kSglang, kVllm} : Dialect{name_of(engine), kVllm, kSglang};
  Words sorted;
  for (std::size_t at = 0; at < words.size();) {
    const std::string& word = words[at++];
    refuse_dash(word);
    const std::size_t equals = word.starts_with("-") ? word.find('=') : std::string::npos;
    std::string name = word.substr(0, equals);
    if (name.starts_with("--")) std::replace(name.begin(), name.end(), '_', '-');
    std::string text = word;
    const auto is_value = [&] { return at < words.size() && !words[at].starts_with("-"); };
    const Spelling* spelling = spelling_of(name, dialect.own);
    if (spelling == nullptr) {
      spelling = borrowed_spelling(name, dialect);
      if (spelling != nullptr) {
        sorted.notes.push_back(dialect.engine + " has no " + name + ": it is read as " +
                               std::string(spelling->name));
      }
    }
    // 0 is what a node without replicas of its own has.
    const bool is_none = spelling != nullptr && spelling->topic == Topic::local_dp &&
                         (equals == std::string::npos ? at < words.size() && words[at] == "0"
                                                      : word.substr(equals) == "=0");
    if (spelling == nullptr || is_none) {
      while (word.starts_with("-") && equals == std::string::npos && is_value()) {
        text += " " + words[at++];
      }
      sorted.ignored.push_back(text);
      if (name == "--config") sorted.notes.push_back(text + ": sizes in that file are not read");
      continue;
    }
    Given given{text, equals == std::string::npos ? "" : word.substr(equals + 1)};
    if (takes_value(spelling->topic) && equals == std::string::npos) {
      if (!is_value()) refuse("--from: " + name + " of the command has no value");
      given.value = words[at++];
      given.text += " " + given.value;
    }
    if (takes_value(spelling->topic) && spelling->topic != Topic::a2a) {
      given.count = count_of(name, given.value);
    }
    const auto [known_one, is_new] = sorted.given.emplace(spelling->topic, given);
    const Given& first = known_one->second;
    if (!is_new && (first.count != given.count || first.value != given.value)) {
      refuse("--from: " + first.text + " contradicts " + given.text + ": the command has both");
    }
  }
  return sorted;
}

}  // namespace cohort
