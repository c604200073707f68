#include "run.hpp"

#include <cmath>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cohort/error.hpp>
#include <cohort/version.hpp>

#include "exit_status.hpp"
#include "health_file_input.hpp"
#include "launch_output.hpp"
#include "rendezvous/launcher.hpp"

namespace cohort {

namespace {

struct RunOptions {
  std::uint32_t ranks = 0;
  bool only_first_output = false;
  bool plain_errors = false;
  double grace_s = 5;
  std::string health_file;
  bool json = false;
  std::vector<std::string> program;
};

constexpr const char* kFooter =
    R"(Every rank finds the others by World::join(Bootstrap::from_environment()). Rank 0 keeps the
standard input. When a rank fails the others are told, get --grace to end, then SIGTERM, then
SIGKILL; no rank outlives this command. OMP_NUM_THREADS is set to the CPUs per rank unless it is
set already.

Exit codes: 0 if all ranks ended with 0; 2 if the first to fail ended with 2 or could not be
started; 130 and 143 after Ctrl-C and SIGTERM; else 1.

Examples:
  # Four ranks of a program and its arguments:
  cohort run -n 4 -- ./my_program --size 100

  # Only rank 0 prints, and the outcome of every rank as JSON for a script:
  cohort run -n 2 --only-rank-0-output -- ./my_program
  cohort run -n 2 --json -- ./my_program)";

nlohmann::ordered_json describe_ranks(const LaunchResult& result) {
  auto ranks = nlohmann::ordered_json::array();
  for (std::size_t rank = 0; rank < result.ranks.size(); ++rank) {
    const RankEnd& end = result.ranks[rank];
    nlohmann::ordered_json entry{{"rank", rank}, {"exit_code", nullptr}, {"signal", nullptr}};
    entry[end.signal == 0 ? "exit_code" : "signal"] = end.signal == 0 ? end.exit_code : end.signal;
    ranks.push_back(entry);
  }
  return {{"schema", 1}, {"version", COHORT_VERSION}, {"ranks", ranks}};
}

LaunchOptions launch_options(const RunOptions& options) {
  if (!(options.grace_s >= 0 && options.grace_s <= 86'400)) {
    throw Error(ErrorCode::usage, "--grace is not from 0 to 86400 seconds", std::nullopt,
                "arguments");
  }
  LaunchOptions launched;
  launched.rank_count = options.ranks;
  launched.arguments = options.program;
  launched.other_output = options.only_first_output ? RankOutput::discard : RankOutput::inherit;
  launched.errors = options.plain_errors ? RankOutput::inherit : RankOutput::prefix;
  // Standard output then carries nothing but JSON.
  launched.output_to_errors = options.json;
  launched.grace = std::chrono::milliseconds(std::llround(options.grace_s * 1000));
  return launched;
}

}  // namespace

void add_run_command(CLI::App& app, std::ostream& output, std::ostream& errors) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Start N ranks of a program on this host");
  command->add_option("-n,--ranks", options->ranks, "How many ranks to start")
      ->required()
      ->type_name("N");
  command->add_flag("--only-rank-0-output", options->only_first_output,
                    "Discard the standard output of all other ranks");
  command->add_flag("--plain-errors", options->plain_errors,
                    "Do not put \"[rank 2] \" before lines of standard error");
  command
      ->add_option("--grace", options->grace_s,
                   "How long the others may take to end once a rank has failed (default 5)")
      ->type_name("SECONDS");
  command
      ->add_option("--health-file", options->health_file,
                   "Keep in FILE what the ranks are doing; 'cohort health FILE' reads it")
      ->type_name("FILE");
  command->add_flag("--json", options->json,
                    "Print each rank's end as one JSON document; ranks' output goes to standard "
                    "error");
  command->add_option("program", options->program, "The program and its arguments, after --")
      ->required()
      ->type_name("");
  command->footer(kFooter);
  command->callback([options, &output, &errors] {
    use_health_file(options->health_file);
    const LaunchResult result = launch(launch_options(*options));
    const int exit_code = print_launch_result(result, options->json, output, errors);
    if (exit_code != 0) throw ExitStatus{exit_code};
    if (options->json) output << describe_ranks(result).dump() << std::endl;
  });
}

}  // namespace cohort
