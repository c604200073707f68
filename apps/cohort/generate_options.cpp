#include "generate_options.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <string>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"

namespace cohort {

namespace {

constexpr std::uint32_t kContextTokensDefault = 2048;

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "arguments");
}

/// Digits only: CLI11 would turn -1 into the largest number, and what is too large into it, too.
std::uint64_t parsed_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, seed);
  if (error == std::errc{} && rest == end && !text.empty()) return seed;
  throw CLI::ValidationError("--seed", "'" + text + "' is not a whole number from 0 to " +
                                           std::to_string(~std::uint64_t{0}));
}

}  // namespace

EngineSpec EngineFlags::spec(const ModelConfig& config) const {
  EngineSpec spec;
  spec.dtype = dtype == "bf16" ? DType::bf16 : DType::f32;
  spec.maxima.context_tokens =
      context.value_or(std::min(kContextTokensDefault, config.context_token_count));
  spec.maxima.replica_sequences = sequences;
  spec.maxima.step_tokens = step_tokens;
  if (!pool.empty()) {
    spec.pool_bytes = parse_bytes(pool);
    if (!spec.pool_bytes) {
      refuse("--pool " + pool + " is no size; give bytes, or a number with KiB, MiB or GiB");
    }
  }
  spec.choice = temperature == 0 ? TokenChoice::greedy : TokenChoice::sampled;
  return spec;
}

PlanOptions EngineFlags::plan_options() const {
  check_spellings();
  return {.symmetry = symmetric == "off" ? Symmetry::off : Symmetry::on,
          .strict = strict,
          .path_table = paths.table()};
}

void EngineFlags::check_spellings() const {
  if (enable_symm_mem && symmetric == "off") {
    refuse("--symmetric off contradicts --enable-symm-mem: give one of them");
  }
}

void add_engine_flags(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--model", flags.model,
                  "Model file: a GGUF of a Llama-type decoder. In cohort's source tree "
                  "'scripts/fetch-weights' gets a small one and prints where it lies")
      ->required()
      ->type_name("FILE");
  command
      .add_option("--context", flags.context,
                  "Most tokens of a sequence, prompt and completion (default 2048, or what the "
                  "model can)")
      ->type_name("N");
  command
      .add_option("--max-sequences", flags.sequences,
                  "Sequences that one replica runs at once (default 8)")
      ->type_name("N");
  command
      .add_option("--max-step-tokens", flags.step_tokens,
                  "Prompt tokens that one replica processes in one step; longer prompts run in "
                  "chunks (default 512)")
      ->type_name("N");
  command
      .add_option("--temperature", flags.temperature,
                  "0 picks the likeliest token; above, tokens are drawn (default 0)")
      ->type_name("T");
  command
      .add_option("--dtype", flags.dtype,
                  "f32 or bf16: weights, activations and messages (default f32)")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->type_name("TYPE");
  command
      .add_option("--symmetric", flags.symmetric,
                  "on or off: off stages every message, for comparison (default on)")
      ->check(CLI::IsMember({"on", "off"}))
      ->type_name("on|off");
  command.add_flag("--enable-symm-mem", flags.enable_symm_mem,
                   "The same as --symmetric on (SGLang's spelling)");
  command
      .add_option("--pool", flags.pool,
                  "Budget of the activations that ranks exchange, e.g. 64MiB; what does not fit is "
                  "staged (default what the plan needs)")
      ->type_name("SIZE");
  command.add_flag("--strict", flags.strict,
                   "Any path but the promised one is an error on all ranks");
  add_path_flags(command, flags.paths);
  add_layout_flags(command, flags.layout);
}

void add_generate_flags(CLI::App& command, GenerateFlags& flags) {
  command.add_option("--prompt", flags.prompts, "A prompt; repeat it for several")
      ->type_name("TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--prompts", flags.prompts_file,
                  "Prompts, one JSON value a line: a string, or an object with \"prompt\"")
      ->type_name("FILE.jsonl");
  command.add_flag("--chat", flags.chat, "Put each prompt into the model's chat template");
  command.add_option("-n,--ranks", flags.ranks, "How many ranks to start (default --tp)")
      ->type_name("N");
  command
      .add_option("--max-tokens", flags.completion_tokens_max,
                  "Most tokens of a completion (default 128)")
      ->type_name("N");
  command.add_flag("--ignore-eos", flags.ignore_eos, "Go on after the model has ended its answer");
  add_engine_flags(command, flags.engine);
  command.add_option("--top-k", flags.top_k, "Draw among the K likeliest tokens (default 0: all)")
      ->type_name("K");
  command
      .add_option(
          "--top-p", flags.top_p,
          "Draw among the likeliest tokens that together have probability P (default 1: all)")
      ->type_name("P");
  const auto take_seed = [&flags](const std::string& text) { flags.seed = parsed_seed(text); };
  command
      .add_option_function<std::string>("--seed", take_seed,
                                        "What the drawing follows from (default 0)")
      ->type_name("N");
  command
      .add_option("--deadline", flags.deadline_s,
                  "How long a rank waits for another in a step; three times as long while "
                  "starting (default 10)")
      ->type_name("SECONDS");
  command
      .add_option("--health-file", flags.health_file,
                  "Keep in FILE what the ranks are doing; 'cohort health FILE' reads it")
      ->type_name("FILE");
  command
      .add_option(
          "--report", flags.report,
          "Also write one page that shows groups, memory, calls and verdicts, for a browser")
      ->type_name("FILE.html");
  command
      .add_option("--trace", flags.trace,
                  "Also write when each rank made which call, as a trace for ui.perfetto.dev")
      ->type_name("FILE.json");
  add_verbosity_flags(command, flags.verbosity,
                      "Only the text: no progress, and no table at the end");
  command.add_flag("--json", flags.json, "Print one JSON document instead of text");
}

Layout GenerateFlags::layout() const {
  LayoutSizes sizes = engine.layout.sizes();
  if (!engine.layout.tp && ranks) sizes.tp = std::max(1U, *ranks / std::max(1U, sizes.pp));
  Layout layout(sizes);
  if (ranks && *ranks != layout.world_size()) {
    refuse("--ranks " + std::to_string(*ranks) + " contradicts --tp " + std::to_string(sizes.tp) +
           (sizes.pp > 1 ? " x --pp " + std::to_string(sizes.pp) : "") + ", which makes " +
           std::to_string(layout.world_size()) + " ranks: give one of them");
  }
  return layout;
}

SamplingOptions GenerateFlags::sampling() const {
  const SamplingOptions options{
      .temperature = engine.temperature, .top_k = top_k, .top_p = top_p, .seed = seed};
  validate(options);
  return options;
}

WaitLimits GenerateFlags::limits() const {
  constexpr double kDeadlineMax = 86'400;
  if (!(deadline_s > 0 && deadline_s <= kDeadlineMax)) {
    refuse("--deadline must be more than 0 and at most 86400 seconds");
  }
  WaitLimits limits;
  const auto steady = std::chrono::milliseconds(std::llround(deadline_s * 1000));
  limits.steady = std::max(steady, std::chrono::milliseconds(1));
  limits.setup = 3 * limits.steady;
  limits.stall = std::min(limits.stall, limits.steady);
  limits.scale = deadline_scale_from_environment();
  return limits;
}

}  // namespace cohort
