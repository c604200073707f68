#include "pasted_command.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include <cohort/error.hpp>

#include "pasted_program.hpp"

namespace cohort {

namespace {

using Count = std::optional<std::uint32_t>;

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "arguments");
}

/// What a flag of an engine is about.
enum class Topic { tp, pp, dp, attn_dp, cp, ep, moe_dp, dcp, nodes, dp_attention, a2a, experts };

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
    Spelling{"-tp", Topic::tp},      Spelling{"--tensor-parallel-size", Topic::tp},
    Spelling{"-pp", Topic::pp},      Spelling{"--pipeline-parallel-size", Topic::pp},
    Spelling{"-dp", Topic::dp},      Spelling{"--data-parallel-size", Topic::dp},
    Spelling{"-pcp", Topic::cp},     Spelling{"--prefill-context-parallel-size", Topic::cp},
    Spelling{"-dcp", Topic::dcp},    Spelling{"--decode-context-parallel-size", Topic::dcp},
    Spelling{"-n", Topic::nodes},    Spelling{"--nnodes", Topic::nodes},
    Spelling{"-ep", Topic::experts}, Spelling{"--enable-expert-parallel", Topic::experts},
};

/// SGLang gives every rank a part of the experts with these, whatever --ep-size says.
constexpr std::array<std::string_view, 7> kExchangingBackends{
    "deepep", "mooncake", "flashinfer", "mori", "nixl", "ascend_fuseep", "megamoe"};

bool takes_value(Topic topic) {
  return topic != Topic::dp_attention && topic != Topic::experts;
}

struct Given {
  std::string text;  ///< "--tp-size 8"
  std::string value;
  std::uint32_t count = 1;
};

/// The words behind the program of one command, sorted by what they are about.
struct Words {
  std::map<Topic, Given> given;
  std::vector<std::string> ignored;
  std::vector<std::string> notes;
};

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

Words sort_words(const ShellCommand& words, const Dialect& dialect) {
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
    if (spelling == nullptr) {
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

/// Turns what was found into this library's sizes.
class Translation {
 public:
  Translation(PastedCommand& pasted, Words words)
      : pasted_(pasted), given_(std::move(words.given)) {}

  const Given* find(Topic topic) const {
    const auto found = given_.find(topic);
    return found == given_.end() ? nullptr : &found->second;
  }
  std::uint32_t count(Topic topic) const {
    const Given* const given = find(topic);
    return given == nullptr ? 1 : given->count;
  }
  /// One size as it stands.
  void copy(Topic topic, const char* own, Count LayoutFlags::*size) {
    const Given* const given = find(topic);
    if (given == nullptr) return;
    pasted_.layout.*size = given->count;
    note_flag(topic, std::string(own) + " " + std::to_string(given->count));
  }
  void set(Count LayoutFlags::*size, std::uint32_t value) { pasted_.layout.*size = value; }
  void note_flag(Topic topic, std::string own) {
    if (const Given* const given = find(topic)) {
      pasted_.flags.push_back({given->text, std::move(own)});
    }
  }
  void note(std::string text) { pasted_.notes.push_back(std::move(text)); }

  /// How many ranks these sizes make together.
  std::uint32_t product(std::initializer_list<Topic> topics) const {
    std::uint64_t ranks = 1;
    std::string texts;
    for (const Topic topic : topics) {
      const Given* const given = find(topic);
      if (given == nullptr) continue;
      texts += (texts.empty() ? "" : ", ") + given->text;
      ranks *= given->count;
      // At once, so that no further factor overflows it.
      if (ranks > kWorldSizeMax) {
        refuse("--from: " + texts + " make more than " + std::to_string(kWorldSizeMax) +
               " ranks, the most there can be");
      }
    }
    return static_cast<std::uint32_t>(ranks);
  }

  void set_hosts(std::uint32_t world) {
    const Given* const nodes = find(Topic::nodes);
    if (nodes == nullptr) return;
    if (world % nodes->count != 0) {
      refuse("--from: " + nodes->text + " does not divide the " + std::to_string(world) +
             " ranks of the command" + (find(Topic::tp) ? ", " + find(Topic::tp)->text : ""));
    }
    set(&LayoutFlags::ranks_per_host, world / nodes->count);
    note_flag(Topic::nodes, "--ranks-per-host " + std::to_string(world / nodes->count));
  }

 private:
  PastedCommand& pasted_;
  std::map<Topic, Given> given_;
};

void translate_sglang(Translation& words) {
  words.copy(Topic::tp, "--tp", &LayoutFlags::tp);
  words.copy(Topic::pp, "--pp", &LayoutFlags::pp);
  words.copy(Topic::attn_dp, "--attn-dp", &LayoutFlags::attn_dp);
  words.copy(Topic::cp, "--attn-cp", &LayoutFlags::attn_cp);
  words.copy(Topic::moe_dp, "--moe-dp", &LayoutFlags::moe_dp);
  words.copy(Topic::dcp, "--dcp", &LayoutFlags::dcp);
  const Given* const dp = words.find(Topic::dp);
  if (dp != nullptr && words.find(Topic::dp_attention) != nullptr) {
    const Given* const attn_dp = words.find(Topic::attn_dp);
    if (attn_dp != nullptr && attn_dp->count != dp->count) {
      refuse("--from: " + attn_dp->text + " contradicts " + dp->text +
             " --enable-dp-attention: the command has both");
    }
    words.set(&LayoutFlags::attn_dp, dp->count);
    words.note_flag(Topic::dp, "--attn-dp " + std::to_string(dp->count));
  } else if (dp != nullptr) {
    words.note_flag(Topic::dp, "");
    if (dp->count > 1) {
      words.note(dp->text + " without --enable-dp-attention starts " + std::to_string(dp->count) +
                 " servers that share nothing; this is the layout of one of them");
    }
  }
  words.note_flag(Topic::dp_attention, "");
  const Given* const a2a = words.find(Topic::a2a);
  const bool exchanges = a2a != nullptr && std::ranges::find(kExchangingBackends, a2a->value) !=
                                               kExchangingBackends.end();
  if (exchanges) {
    const std::uint32_t tp = words.count(Topic::tp);
    const Given* const ep = words.find(Topic::ep);
    if (ep != nullptr && ep->count != tp && ep->count != 1) {
      words.note(a2a->text + " makes SGLang take as many expert ranks as --tp-size, " +
                 std::to_string(tp) + ", and not " + ep->text);
    }
    words.set(&LayoutFlags::ep, tp);
    words.note_flag(Topic::ep, "");
    words.note_flag(Topic::a2a, "--ep " + std::to_string(tp));
  } else {
    words.copy(Topic::ep, "--ep", &LayoutFlags::ep);
    words.note_flag(Topic::a2a, "");
  }
  words.set_hosts(words.product({Topic::tp, Topic::pp}));
}

/// vLLM multiplies its sizes where SGLang divides by them: a replica of attention has --tensor-
/// parallel-size ranks of its own, and experts lie over the ranks of all replicas.
void translate_vllm(Translation& words) {
  const std::uint32_t tp = words.count(Topic::tp);
  const std::uint32_t dp = words.count(Topic::dp);
  const std::uint32_t width = words.product({Topic::tp, Topic::dp, Topic::cp});
  const std::string own_tp = "--tp " + std::to_string(width);
  if (width > 1 || words.find(Topic::tp) != nullptr) words.set(&LayoutFlags::tp, width);
  words.note_flag(Topic::tp, own_tp);
  words.copy(Topic::dp, "--attn-dp", &LayoutFlags::attn_dp);
  words.copy(Topic::cp, "--attn-cp", &LayoutFlags::attn_cp);
  words.copy(Topic::pp, "--pp", &LayoutFlags::pp);
  const Given* const dcp = words.find(Topic::dcp);
  if (dcp != nullptr && tp % dcp->count != 0) {
    refuse("--from: " + dcp->text + " does not divide " +
           (words.find(Topic::tp) ? words.find(Topic::tp)->text
                                  : "--tensor-parallel-size, which is 1"));
  }
  words.copy(Topic::dcp, "--dcp", &LayoutFlags::dcp);
  if (words.find(Topic::experts) != nullptr) {
    words.set(&LayoutFlags::ep, width);
    words.note_flag(Topic::experts, "--ep " + std::to_string(width));
  }
  if (dp > 1) {
    words.note(words.find(Topic::dp)->text +
               ": this is the layout of a model with experts, which "
               "lie over all replicas; of any other model each replica is a server of its own");
  }
  if (dp > 1 && words.count(Topic::pp) > 1) {
    words.note(
        "vLLM numbers the ranks of one replica's stages one behind the other; here all "
        "ranks of a stage have neighbouring numbers");
  }
  words.set_hosts(words.product({Topic::tp, Topic::dp, Topic::cp, Topic::pp}));
}

/// What else there is to say of how the command starts its server.
void note_starter(const PastedProgram& program, PastedCommand& pasted) {
  if (!program.under_torchrun) return;
  pasted.notes.push_back("torchrun starts all of " + pasted.engine +
                         " in each of its processes, and " + pasted.engine +
                         " starts its ranks itself: this is the layout of one such server");
}

PastedCommand read_program(const PastedProgram& program) {
  const bool sglang = program.engine == PastedEngine::sglang;
  PastedCommand pasted;
  pasted.engine = sglang ? "SGLang" : "vLLM";
  Words words = sglang ? sort_words(program.words, {pasted.engine, kSglang, kVllm})
                       : sort_words(program.words, {pasted.engine, kVllm, kSglang});
  pasted.ignored = program.before;
  pasted.ignored.insert(pasted.ignored.end(), words.ignored.begin(), words.ignored.end());
  pasted.notes = words.notes;
  note_starter(program, pasted);
  Translation translation(pasted, std::move(words));
  if (sglang) {
    translate_sglang(translation);
  } else {
    translate_vllm(translation);
  }
  return pasted;
}

bool says_the_same(const PastedCommand& a, const PastedCommand& b) {
  const auto same = [](const PastedCommand::Flag& one, const PastedCommand::Flag& other) {
    return one.text == other.text && one.own == other.own;
  };
  return a.engine == b.engine && std::ranges::equal(a.flags, b.flags, same);
}

}  // namespace

PastedCommand read_pasted_command(const std::string& text) {
  const std::vector<PastedProgram> programs = find_programs(text);
  if (programs.empty()) {
    refuse(
        "--from holds no command that starts a server: neither 'python -m "
        "sglang.launch_server', 'sglang serve', nor 'vllm serve'");
  }
  PastedCommand pasted = read_program(programs.front());
  for (std::size_t at = 1; at < programs.size(); ++at) {
    // As each node of several is given its own.
    if (says_the_same(pasted, read_program(programs[at]))) continue;
    refuse(
        "--from holds two commands that start a server, with different sizes; paste one of "
        "them");
  }
  if (programs.size() > 1) {
    pasted.notes.push_back("all " + std::to_string(programs.size()) +
                           " commands say the same of the layout; the first is listed");
  }
  return pasted;
}

}  // namespace cohort
