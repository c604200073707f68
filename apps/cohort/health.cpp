#include "health.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <ostream>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cohort/error.hpp>
#include <cohort/health.hpp>

#include "exit_status.hpp"
#include "health_file_input.hpp"
#include "output_file.hpp"

namespace cohort {

namespace {

struct HealthOptions {
  std::string file;
  bool watch = false;
  double stale_s = 5;
  bool json = false;
};

constexpr const char* kFooter =
    R"(A job keeps such a file if it is started with --health-file FILE, or if COHORT_HEALTH_FILE
names one in the environment of its ranks. It is written twice a second, whatever the ranks do: a
file that is older than --stale seconds means that all ranks are dead or stopped.

Exit codes: 0 if the job is healthy or has ended in order; 1 if a rank is stalled, stopped or dead,
the job has failed, or the file is stale; 2 if it cannot be read.

Examples:
  # Look at a running job until it ends:
  cohort run -n 4 --health-file job.json -- ./my_program &
  cohort health job.json --watch

  # As a probe of a supervisor:
  cohort health job.json --json --stale 10)";

/// What was read, and how old it is.
struct Look {
  std::string text;
  Health health;
  double age_s = 0;
  bool stale = false;

  bool over() const {
    return stale || health.verdict() == HealthVerdict::failed ||
           health.verdict() == HealthVerdict::ended;
  }
  int exit_code() const {
    const HealthVerdict verdict = health.verdict();
    const bool well = verdict == HealthVerdict::healthy || verdict == HealthVerdict::ended;
    return well && !stale ? 0 : 1;
  }
};

Look look_at(const HealthOptions& options) {
  Look look;
  look.text = read_health_file(options.file);
  look.health = health_from_json(look.text, options.file);
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  look.age_s = now.count() - look.health.taken_at_s;
  // Nobody writes any more once all have left; of a job that failed, nobody needs to.
  const bool ended = std::ranges::all_of(look.health.ranks, [](const RankHealth& rank) {
    return rank.activity == RankActivity::left || rank.activity == RankActivity::dead;
  });
  look.stale = !ended && !look.health.fault && look.age_s > options.stale_s;
  return look;
}

std::string seconds_text(double seconds) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.1f s", seconds);
  return text.data();
}

void print(const Look& look, bool json, std::ostream& output) {
  if (json) {
    auto document = nlohmann::ordered_json::parse(look.text);
    document["age_s"] = look.age_s;
    document["stale"] = look.stale;
    output << document.dump() << std::endl;
    return;
  }
  if (look.stale) {
    output << "stale: not written for " << seconds_text(look.age_s)
           << ", so all ranks are dead or stopped; what they said last:\n";
  }
  output << to_text(look.health) << std::flush;
}

/// What makes a look worth printing: not the times, nor the counts of calls.
std::string gist_of(const Look& look) {
  std::string gist = look.stale ? "stale" : "";
  gist += to_string(look.health.verdict());
  for (const RankHealth& rank : look.health.ranks) {
    gist += ' ';
    gist += to_string(rank.activity);
    if (rank.stopped) gist += " stopped";
    if (rank.wait) gist += " for " + std::to_string(rank.wait->rank.index());
    gist += " " + std::to_string(rank.stalls) + " " + std::to_string(rank.generation);
  }
  return gist;
}

int watch(const HealthOptions& options, std::ostream& output) {
  constexpr std::chrono::milliseconds kInterval{500};
  std::string shown;
  while (true) {
    const Look look = look_at(options);
    const std::string gist = gist_of(look);
    if (gist != shown) print(look, options.json, output);
    require_written(output);
    shown = gist;
    if (look.over()) return look.exit_code();
    std::this_thread::sleep_for(kInterval);
  }
}

}  // namespace

void add_health_command(CLI::App& app, std::ostream& output) {
  const auto options = std::make_shared<HealthOptions>();
  CLI::App* command = app.add_subcommand(
      "health", "Print what the ranks of a running job are doing, from its file");
  command->add_option("file", options->file, "The job's --health-file")
      ->required()
      ->type_name("FILE");
  command->add_flag("--watch", options->watch,
                    "Go on until the job has ended or failed; print when a rank's state changes");
  command->add_option("--stale", options->stale_s, "Age from which the file counts as stale")
      ->capture_default_str()
      ->type_name("SECONDS");
  command->add_flag("--json", options->json,
                    "Print the JSON document with \"age_s\" and \"stale\" added");
  command->footer(kFooter);
  command->callback([options, &output] {
    if (!(options->stale_s > 0)) {
      throw Error(ErrorCode::usage, "--stale must be more than 0 seconds", std::nullopt,
                  "arguments");
    }
    int exit_code = 0;
    if (options->watch) {
      exit_code = watch(*options, output);
    } else {
      const Look look = look_at(*options);
      print(look, options->json, output);
      exit_code = look.exit_code();
    }
    if (exit_code != 0) throw ExitStatus{exit_code};
  });
}

}  // namespace cohort
