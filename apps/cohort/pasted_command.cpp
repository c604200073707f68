#include "pasted_command.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <string_view>
#include <utility>

#include <cohort/error.hpp>

#include "pasted_program.hpp"
#include "pasted_words.hpp"

namespace cohort {

namespace {

using Count = std::optional<std::uint32_t>;

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "arguments");
}

/// SGLang gives every rank a part of the experts with these, whatever --ep-size says.
constexpr std::array<std::string_view, 7> kExchangingBackends{
    "deepep", "mooncake", "flashinfer", "mori", "nixl", "ascend_fuseep", "megamoe"};

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

/// vLLM says how many replicas a host has, each of `replica_ranks`.
void set_hosts_of_replicas(Translation& words, std::uint32_t replica_ranks) {
  const Given& local = *words.find(Topic::local_dp);
  const std::uint32_t dp = words.count(Topic::dp);
  if (words.find(Topic::nodes) != nullptr) {
    words.note_flag(Topic::local_dp, "");
    return;
  }
  if (words.count(Topic::pp) > 1 || local.count > dp || dp % local.count != 0) {
    words.note_flag(Topic::local_dp, "");
    words.note(local.text + ": hosts of that kind cannot be shown here; all ranks are on one");
    return;
  }
  const std::uint32_t per_host = local.count * replica_ranks;
  words.set(&LayoutFlags::ranks_per_host, per_host);
  words.note_flag(Topic::local_dp, "--ranks-per-host " + std::to_string(per_host));
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
  if (words.find(Topic::local_dp) != nullptr) set_hosts_of_replicas(words, width / dp);
}

/// What else there is to say of how the command starts its server.
void note_starter(const PastedProgram& program, PastedCommand& pasted) {
  if (!program.under_torchrun) return;
  pasted.notes.push_back("torchrun starts all of " + pasted.engine +
                         " in each of its processes, and " + pasted.engine +
                         " starts its ranks itself: this is the layout of one such server");
}

bool ends_like_a_secret(std::string_view name) {
  std::string lower(name);
  for (char& letter : lower) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  constexpr std::array<std::string_view, 4> kSecrets{"key", "token", "secret", "password"};
  return std::ranges::any_of(kSecrets, [&](auto secret) { return lower.ends_with(secret); });
}

/// "--api-key ..." for "--api-key sk-1": what is pasted here is pasted on.
std::string without_secrets(const std::string& text) {
  std::string shown;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of("= ", at), text.size());
    const std::string_view name = std::string_view(text).substr(at, end - at);
    shown += text.substr(at, end + 1 - at);
    at = end + 1;
    if (end == text.size() || !ends_like_a_secret(name)) continue;
    shown += "...";
    at = std::min(text.find(' ', at), text.size());
  }
  return shown;
}

PastedCommand read_program(const PastedProgram& program) {
  const bool sglang = program.engine == PastedEngine::sglang;
  PastedCommand pasted;
  pasted.engine = name_of(program.engine);
  Words words = sort_words(program.words, program.engine);
  pasted.ignored = program.before;
  pasted.ignored.insert(pasted.ignored.end(), words.ignored.begin(), words.ignored.end());
  std::ranges::transform(pasted.ignored, pasted.ignored.begin(), without_secrets);
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
