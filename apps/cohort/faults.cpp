#include "faults.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <ostream>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

#include "base/clock.hpp"
#include "exit_status.hpp"
#include "faults/catalog.hpp"
#include "faults_output.hpp"
#include "nearest.hpp"
#include "output_file.hpp"
#include "progress.hpp"
#include "report/page.hpp"

namespace cohort {

namespace {

using faults::Fault;

constexpr const char* kFooter =
    R"(Each fault was reported of engines in service. It is replayed twice, by ranks that are
processes of this machine and share its memory:
  naive   the way engines do it, in a few lines, without deadlines; a watchdog
          ends what hangs
  cohort  the same program over this library
Both verdicts are what was seen in this run. Naive: wrong (results, and no error), hang, slow (a
path that nobody is told of). cohort: right, refused (on all ranks, and the job lives on), ended
(all ranks, with one error).

Exit codes: 0 if cohort did nothing but that; 1 if it did; 2 for wrong flags.

Examples:
  # All faults, in some ten seconds:
  cohort faults

  # The same as a page for a browser:
  cohort faults --report faults.html

  # Two of them on more ranks, for a script:
  cohort faults --only dead-rank,skipped-call --ranks 8 --json)";

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::usage, message, std::nullopt, "arguments");
}

/// The faults that were asked for, in the order of `all`.
std::vector<const Fault*> choose(std::span<const Fault> all, const std::vector<std::string>& only) {
  std::vector<std::string> names;
  for (const Fault& fault : all) names.emplace_back(fault.name);
  for (const std::string& name : only) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    std::string message = "--only " + name + ": there is no such fault";
    if (const auto best = nearest(name, names)) message += "; did you mean '" + *best + "'?";
    refuse(message + " (--list prints all)");
  }
  std::vector<const Fault*> chosen;
  for (const Fault& fault : all) {
    if (only.empty() || std::find(only.begin(), only.end(), fault.name) != only.end()) {
      chosen.push_back(&fault);
    }
  }
  return chosen;
}

}  // namespace

void run_faults(std::span<const Fault> all, const FaultsOptions& options, std::ostream& output,
                std::ostream& errors) {
  const std::vector<const Fault*> chosen = choose(all, options.only);
  if (options.ranks < 4 || options.ranks > faults::kRanksMax || options.ranks % 2 != 0) {
    refuse("--ranks " + std::to_string(options.ranks) + ": an even number from 4 to " +
           std::to_string(faults::kRanksMax) + " is needed, so that attn_cp differs from tp");
  }
  if (options.list && !options.report.empty()) {
    refuse("--report has nothing to show with --list, which replays nothing; leave one out");
  }
  if (options.list) {
    print_fault_list(chosen, options.json, output);
    return;
  }
  const faults::Setting setting{.ranks = options.ranks, .scale = deadline_scale_from_environment()};
  std::optional<OutputFile> page;
  if (!options.report.empty()) page.emplace("--report", options.report);
  FaultsReport report(setting, options.json, output);
  Progress progress(errors, "faults", "faults", options.verbosity);
  progress.expect(chosen.size());
  for (const Fault* fault : chosen) {
    progress.begin("replaying " + std::string(fault->name));
    const faults::Replay replay = faults::replay(*fault, setting);
    progress.advance();
    progress.clear();
    report.add(replay);
  }
  progress.end();
  const auto write_page = [&] {
    if (page) page->write(command_report("faults", report.document_text()));
  };
  // One document on standard output: the replays', or the error's of the page.
  if (options.json) write_page();
  report.finish();
  if (!options.json) write_page();
  if (!report.kept()) throw ExitStatus{1};
}

void add_faults_command(CLI::App& app, std::ostream& output, std::ostream& errors) {
  const auto options = std::make_shared<FaultsOptions>();
  CLI::App* command = app.add_subcommand(
      "faults", "Replay faults of the field, the naive way and cohort's, and show both verdicts");
  command
      ->add_option("--only", options->only, "Names of faults, separated by commas (default: all)")
      ->delimiter(',')
      ->type_name("LIST");
  command->add_option("--ranks", options->ranks, "Ranks of each replay, even, 4 to 16")
      ->capture_default_str()
      ->type_name("N");
  command->add_flag("--list", options->list, "Print the faults without replaying them");
  add_verbosity_flags(*command, options->verbosity, "No progress");
  command->add_flag("--json", options->json, "Print one JSON document instead of text");
  command
      ->add_option("--report", options->report,
                   "Also write one page that shows the replays, for a browser")
      ->type_name("FILE.html");
  command->footer(kFooter);
  command->callback(
      [options, &output, &errors] { run_faults(faults::all_faults(), *options, output, errors); });
}

}  // namespace cohort
