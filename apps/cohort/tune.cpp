#include "tune.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <memory>
#include <ostream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cohort/error.hpp>
#include <cohort/path_table.hpp>
#include <cohort/version.hpp>

#include "base/system_limits.hpp"
#include "tune_fit.hpp"
#include "tune_measure.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint32_t kRanksMax = 64;
constexpr double kRegretWanted = 0.05;

constexpr const char* kFooter =
    R"(Groups of every size given are measured alone and, where this leaves CPUs idle, in a world of
more ranks than CPUs, because waiting ranks behave differently there. Run it while the machine does
nothing else. The table is for this machine and this version of cohort.

Exit codes: 0 when the table is measured and written; 2 for wrong flags; 1 for all else.

Examples:
  # Measure this machine, then use what was found:
  cohort tune -o paths.json
  cohort generate --model SmolLM2.gguf --tp 2 --prompt "Hello" --path-table paths.json

  # A look at two sizes of groups, nothing written:
  cohort tune --ranks 2 --ranks 4 --quick)";

struct TuneFlags {
  std::vector<std::uint32_t> ranks;
  std::string output_file;
  bool quick = false;
  bool json = false;
};

/// One row of the table, with what it was made from.
struct Measured {
  PathRow row;
  FittedSteps fit;
  std::vector<PathTimes> times;
};

std::vector<TuneArrangement> arrangements(const TuneFlags& flags) {
  std::vector<std::uint32_t> sizes = flags.ranks;
  if (sizes.empty()) sizes = {2, 4, 8};
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  std::vector<TuneArrangement> result;
  for (const std::uint32_t ranks : sizes) {
    if (ranks < 2 || ranks > kRanksMax) {
      throw Error(
          ErrorCode::usage,
          "--ranks " + std::to_string(ranks) + " is not from 2 to " + std::to_string(kRanksMax),
          std::nullopt, "arguments");
    }
    result.push_back({ranks, ranks});
    const std::uint32_t crowd = (usable_cpu_count() / ranks + 1) * ranks;
    if (ranks <= usable_cpu_count() && crowd <= kRanksMax) result.push_back({ranks, crowd});
  }
  return result;
}

/// The v-forms move the same bytes the same way.
std::vector<Op> ops_served_by(Op measured) {
  switch (measured) {
    case Op::all_gather: return {measured, Op::all_gatherv};
    case Op::reduce_scatter: return {measured, Op::reduce_scatterv};
    case Op::all_to_all: return {measured, Op::all_to_allv};
    default: return {measured};
  }
}

std::vector<Measured> measure(const TuneFlags& flags, std::ostream& errors) {
  TuneEffort effort;
  if (flags.quick) effort = {.bytes_max = 64 * 1024, .rounds = 3, .batch_us = 100};
  std::vector<Measured> result;
  for (const TuneArrangement& arrangement : arrangements(flags)) {
    const auto progress = [&](Op op) {
      errors << "measuring " << to_string(op) << " in groups of " << arrangement.group_ranks
             << " of " << arrangement.world_ranks << " ranks\n"
             << std::flush;
    };
    const bool crowded = arrangement.world_ranks > usable_cpu_count();
    for (const OpTimes& of_op : measure_paths(arrangement, effort, progress)) {
      Measured measured{
          {of_op.op, arrangement.group_ranks, crowded, {}}, fit_steps(of_op.times), of_op.times};
      measured.row.steps = measured.fit.steps;
      result.push_back(std::move(measured));
    }
  }
  return result;
}

PathTable table_of(const std::vector<Measured>& all) {
  std::vector<PathRow> rows;
  for (const Measured& measured : all) {
    for (const Op op : ops_served_by(measured.row.op)) {
      rows.push_back(measured.row);
      rows.back().op = op;
    }
  }
  return {std::move(rows), this_machine(), COHORT_VERSION};
}

std::string describe_steps(const std::vector<PathStep>& steps) {
  std::string text;
  for (const PathStep& step : steps) {
    text += to_string(step.path);
    if (step.bytes_max == PathStep::kUnlimited) continue;
    text += " to " + std::to_string(step.bytes_max) + " bytes, then ";
  }
  return text;
}

void print_summary(const std::vector<Measured>& all, std::ostream& output) {
  output << "Measured on " << to_string(this_machine()) << ".\n\n"
         << std::left << std::setw(16) << "operation" << std::setw(7) << "ranks" << std::setw(9)
         << "crowded" << std::setw(9) << "regret"
         << "paths\n";
  bool regrets = false;
  for (const Measured& measured : all) {
    char regret[32];
    std::snprintf(regret, sizeof(regret), "%.1f %%", measured.fit.worst_regret * 100);
    regrets = regrets || measured.fit.worst_regret > kRegretWanted;
    output << std::setw(16) << to_string(measured.row.op) << std::setw(7) << measured.row.ranks
           << std::setw(9) << (measured.row.crowded ? "yes" : "no") << std::setw(9) << regret
           << describe_steps(measured.row.steps) << '\n';
  }
  output
      << "\nregret: how much longer than the best path the chosen one took, at the worst size.\n";
  if (regrets) {
    output << "Some are above 5 %: something else ran on this machine, or two paths are equally "
              "fast\nthere. Measure again when it is quiet.\n";
  }
}

Json document_of(const std::vector<Measured>& all) {
  Json document = Json::parse(table_of(all).to_json());
  Json measurements = Json::array();
  for (const Measured& measured : all) {
    for (const PathTimes& times : measured.times) {
      Json us = Json::object();
      for (std::size_t path = 0; path < kPathCount; ++path) {
        if (times.us[path]) us[std::string(to_string(static_cast<Path>(path)))] = *times.us[path];
      }
      measurements.push_back({{"op", to_string(measured.row.op)},
                              {"ranks", measured.row.ranks},
                              {"crowded", measured.row.crowded},
                              {"bytes", times.bytes},
                              {"us", std::move(us)}});
    }
  }
  document["measurements"] = std::move(measurements);
  return document;
}

/// All of the file or nothing: another job may be reading the old one.
void write_file(const std::string& name, const std::string& text) {
  const std::string temporary = name + ".part" + std::to_string(::getpid());
  std::ofstream file(temporary, std::ios::binary);
  file << text << '\n';
  file.close();
  if (!file || std::rename(temporary.c_str(), name.c_str()) != 0) {
    const int cause = errno;
    std::remove(temporary.c_str());
    throw Error(ErrorCode::system,
                "cannot write " + name + ": " + std::generic_category().message(cause),
                std::nullopt, "output");
  }
}

void tune(const TuneFlags& flags, std::ostream& output, std::ostream& errors) {
  const std::vector<Measured> all = measure(flags, errors);
  const Json document = document_of(all);
  if (!flags.output_file.empty()) write_file(flags.output_file, document.dump(1));
  if (flags.json) {
    output << document.dump() << '\n';
    return;
  }
  print_summary(all, output);
  if (flags.output_file.empty()) {
    output << "Nothing was written: -o FILE writes the table.\n";
  } else {
    output << "Written to " << flags.output_file << ": use it with --path-table.\n";
  }
}

}  // namespace

void add_tune_command(CLI::App& app, std::ostream& output, std::ostream& errors) {
  const auto flags = std::make_shared<TuneFlags>();
  CLI::App* command =
      app.add_subcommand("tune", "Measure which path is best for which size, and write the table");
  command
      ->add_option("-n,--ranks", flags->ranks,
                   "Group sizes to measure, 2 to 64; repeat it for several (default 2, 4, 8)")
      ->type_name("N")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      ->add_option("-o,--output", flags->output_file,
                   "Where to write the table (default: only print what was found)")
      ->type_name("FILE.json");
  command->add_flag("--quick", flags->quick,
                    "Fewer sizes and rounds: seconds instead of a minute, and coarser");
  command->add_flag("--json", flags->json,
                    "Print the table and its measurements as one JSON document");
  command->footer(kFooter);
  command->callback([flags, &output, &errors] { tune(*flags, output, errors); });
}

}  // namespace cohort
