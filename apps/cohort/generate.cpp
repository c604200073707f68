#include "generate.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>
#include <cohort/world.hpp>

#include "base/log.hpp"
#include "base/unique_fd.hpp"
#include "engine/schedule.hpp"
#include "error_output.hpp"
#include "exit_status.hpp"
#include "generate_options.hpp"
#include "generate_output.hpp"
#include "generate_prompts.hpp"
#include "generate_rank.hpp"
#include "health_file_input.hpp"
#include "launch_output.hpp"
#include "model/matmul.hpp"
#include "model/tokenizer_from_gguf.hpp"
#include "output_file.hpp"
#include "rendezvous/launched_rank.hpp"
#include "rendezvous/launcher.hpp"
#include "rendezvous/torchrun.hpp"
#include "report/trace.hpp"

namespace cohort {

namespace {

constexpr const char* kFooter =
    R"(Prompts go to the attention replicas in turn and run as one ragged batch. Without --prompt
and --prompts the prompt is read from standard input. The text comes as it is written; at the end a
table shows what every group of ranks exchanged, by which path and why.

Exit codes: 0 when every prompt is done; 2 for flags, a model or prompts that cannot be used; 130
and 143 after Ctrl-C and SIGTERM; 1 for all else: a rank that died or hangs, too little memory, or,
with --strict, a call that could not take its path.

Examples:
  # One rank:
  cohort generate --model SmolLM2.gguf --prompt "Once upon a time"
  echo "Once upon a time" | cohort generate --model SmolLM2.gguf --max-tokens 32

  # Four ranks: attention in 2 replicas of 2 context-parallel ranks each, the
  # MLP over all 4:
  cohort generate --model SmolLM2.gguf --tp 4 --attn-dp 2 --attn-cp 2 --chat \
    --prompt "Why is the sky blue?" --prompt "Write a haiku about memory." \
    --strict

  # The same four ranks, started by torchrun on this host:
  torchrun --nproc-per-node 4 --no-python cohort generate --model SmolLM2.gguf \
    --attn-dp 2 --attn-cp 2 --prompt "Why is the sky blue?"

  # As a page for a browser: groups, memory, every call, every verdict:
  cohort generate --model SmolLM2.gguf --tp 4 --attn-dp 2 --attn-cp 2 \
    --prompt "Why is the sky blue?" --report report.html

  # As a trace: every call of every rank, for ui.perfetto.dev:
  cohort generate --model SmolLM2.gguf --tp 4 --attn-dp 2 --attn-cp 2 \
    --prompt "Why is the sky blue?" --trace trace.json

  # Many prompts on two replicas, for a script; on every line a string, or
  # {"prompt": "..."}:
  cohort generate --model SmolLM2.gguf --tp 2 --attn-dp 2 --max-tokens 16 \
    --prompts prompts.jsonl --json)";

/// Puts `text` where this process's standard input was: rank 0 inherits it.
void replace_standard_input(const std::string& text) {
  const auto fail = [] {
    throw Error(ErrorCode::system,
                "cannot hand the prompt to rank 0: " + std::generic_category().message(errno));
  };
  const UniqueFd memory(::memfd_create("cohort-prompt", MFD_CLOEXEC));
  if (memory.get() < 0) fail();
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(memory.get(), text.data() + written, text.size() - written);
    if (count < 0) fail();
    written += static_cast<std::size_t>(count);
  }
  if (::lseek(memory.get(), 0, SEEK_SET) != 0 || ::dup2(memory.get(), STDIN_FILENO) < 0) fail();
}

/// Finds what is wrong with flags, model and prompts before any rank is started, so that it is said
/// once and at once.
void check_before_launch(const GenerateFlags& flags, const Layout& layout, std::ostream& errors) {
  const GgufFile file = GgufFile::open(flags.engine.model);
  const ModelConfig config = model_config_from(file);
  const EngineSpec spec = flags.engine.spec(config);
  Plan plan(layout, flags.engine.plan_options());
  static_cast<void>(plan_slots(plan, config, spec));
  require_products(spec.dtype);
  std::istringstream typed;
  if (flags.prompts.empty() && flags.prompts_file.empty()) {
    if (::isatty(STDIN_FILENO) == 1 && !flags.verbosity.quiet) {
      errors << "Type a prompt, end it with Enter and Ctrl-D:" << std::endl;
    }
    const std::string text = read_typed_prompt(std::cin);
    replace_standard_input(text);
    typed.str(text);
  }
  std::vector<Request> requests;
  for (Prompt& prompt :
       tokenize_prompts(read_prompt_texts(flags, typed), file, load_tokenizer(file), flags.chat)) {
    requests.push_back({std::move(prompt.tokens), flags.completion_tokens_max});
  }
  static_cast<void>(Schedule(
      requests,
      {.replica_count = layout.sizes().attn_dp, .maxima = spec.maxima, .stop_tokens = {}}));
}

/// Runs this process's rank and prints on rank 0.
void run_rank(const GenerateFlags& flags, const Layout& layout, std::ostream& output,
              std::ostream& errors) {
  std::optional<World> world;
  try {
    world.emplace(World::join(Bootstrap::from_environment(), flags.limits()));
    set_log_rank(world->rank());
    std::optional<OutputFile> report;
    if (!flags.report.empty() && world->rank() == WorldRank{0}) {
      report.emplace("--report", flags.report);
    }
    std::optional<OutputFile> trace;
    if (!flags.trace.empty() && world->rank() == WorldRank{0}) {
      trace.emplace("--trace", flags.trace);
    }
    const GenerateStreams streams{std::cin, output, errors};
    const GenerateResult result = generate_on_rank(*world, flags, layout, streams);
    if (world->rank() != WorldRank{0}) return;
    const auto write_files = [&] {
      if (report) report->write(generate_report(result));
      if (trace) trace->write(trace_json(result.timelines, layout));
    };
    // One document on standard output: the result's, or the error's of a file.
    if (flags.json) write_files();
    if (flags.json) {
      print_json(result, layout, output);
    } else if (!flags.verbosity.quiet) {
      print_summary(result, layout, output);
    }
    require_written(output);
    if (!flags.json) write_files();
  } catch (const Error& error) {
    if (world) world->fail(error);
    const bool told = report_error(error);
    // Under torchrun every rank says what it ends with, but only one document may be written.
    const bool first = !world || world->rank() == WorldRank{0};
    if (!told && (first || !flags.json)) throw;
    if (!told) print_error(error, /*json=*/false, errors);
    throw ExitStatus{error.exit_code()};
  }
}

/// torchrun has started the ranks already: as many as it says.
Layout layout_under_torchrun(GenerateFlags flags, const rendezvous::TorchrunEnvironment& torchrun) {
  const LayoutFlags& given = flags.engine.layout;
  std::string asked = flags.ranks ? "--ranks " + std::to_string(*flags.ranks)
                                  : "--tp " + std::to_string(given.tp.value_or(1));
  if (!flags.ranks && given.pp) asked += " x --pp " + std::to_string(*given.pp);
  if (!flags.ranks && !given.tp) flags.ranks = torchrun.rank_count;
  Layout layout = flags.layout();
  if (layout.world_size() == torchrun.rank_count) return layout;
  throw Error(ErrorCode::usage,
              asked + " contradicts WORLD_SIZE=" + std::to_string(torchrun.rank_count) +
                  " of torchrun, which has started that many ranks: leave the flag out, or give "
                  "torchrun --nproc-per-node " +
                  std::to_string(layout.world_size()),
              std::nullopt, "arguments");
}

}  // namespace

void add_generate_command(CLI::App& app, const ProgramArguments& arguments, std::ostream& output,
                          std::ostream& errors) {
  const auto flags = std::make_shared<GenerateFlags>();
  CLI::App* command =
      app.add_subcommand("generate", "Run a model over N ranks and stream what it writes");
  add_generate_flags(*command, *flags);
  command->footer(kFooter);
  command->callback([flags, arguments, &output, &errors] {
    const auto torchrun = rendezvous::torchrun_environment();
    const Layout layout = torchrun ? layout_under_torchrun(*flags, *torchrun) : flags->layout();
    flags->engine.check_spellings();
    static_cast<void>(flags->limits());
    static_cast<void>(flags->sampling());
    use_health_file(flags->health_file);
    // What COHORT_LOG says stands.
    if (flags->verbosity.verbose) ::setenv("COHORT_LOG", "info", /*overwrite=*/0);
    // One rank is launched, too: only a new process can be told how its threads wait.
    if (started_by_launcher() || torchrun) {
      run_rank(*flags, layout, output, errors);
      return;
    }
    if (!flags->report.empty()) static_cast<void>(OutputFile("--report", flags->report));
    if (!flags->trace.empty()) static_cast<void>(OutputFile("--trace", flags->trace));
    check_before_launch(*flags, layout, errors);
    // What it says is in the line that ranks get, or was not asked for.
    ::unsetenv("COHORT_CONFIG");
    const LaunchResult result = launch_self(layout.world_size(), arguments.count, arguments.values);
    const int exit_code = print_launch_result(result, flags->json, output, errors);
    if (exit_code != 0) throw ExitStatus{exit_code};
  });
}

}  // namespace cohort
