#include "tune.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>
#include <cohort/path_table.hpp>

#include "backend/cuda/device.hpp"
#include "base/system_limits.hpp"
#include "output_file.hpp"
#include "progress.hpp"
#include "session/device_api.hpp"
#include "session/gpus.hpp"
#include "tune_fit.hpp"
#include "tune_gpu.hpp"
#include "tune_measure.hpp"
#include "tune_output.hpp"
#include "verbosity.hpp"

namespace cohort {

namespace {

constexpr std::uint32_t kRanksMax = 64;

constexpr const char* kFooter =
    R"(Groups of every size given are measured alone and, where this leaves CPUs idle, in a world of
more ranks than CPUs, because waiting ranks behave differently there. Run it while the machine does
nothing else. The table is for this machine and this version of cohort.

With --device cuda every rank has a GPU of its own. First grids are measured, which are the threads
of a block by size, then every path of GPUs with those grids, in replays of CUDA graphs. The table
is for GPUs of this name, driver and link. Without one, ranks whose GPUs a table comes with cohort
for take that one, and all others a general one.

Exit codes: 0 when the table is measured and written; 2 for wrong flags and for a machine without
what --device asks for; 1 for all else.

Examples:
  # Measure groups of two ranks, then use what was found; without --quick it
  # takes longer and is finer:
  cohort tune --ranks 2 --quick -o paths.json
  cohort generate --model SmolLM2.gguf --tp 2 --prompt "Hello" \
    --path-table paths.json

  # A look at larger groups, nothing written:
  cohort tune --ranks 4 --quick

  # All GPUs of this machine, then collectives with what was found:
  cohort tune --device cuda -o gpus.json
  cohort bench --device cuda --path-table gpus.json)";

struct TuneFlags {
  std::vector<std::uint32_t> ranks;
  std::string device = "host";
  std::string output_file;
  bool quick = false;
  Verbosity verbosity;
  bool json = false;
};

/// In rising order, each once. Throws: Error{usage} for one that is not from 2 to `most`.
std::vector<std::uint32_t> group_sizes(std::vector<std::uint32_t> sizes, std::uint32_t most) {
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  for (const std::uint32_t ranks : sizes) {
    if (ranks >= 2 && ranks <= most) continue;
    throw Error(ErrorCode::usage,
                "--ranks " + std::to_string(ranks) + " is not from 2 to " + std::to_string(most),
                std::nullopt, "arguments");
  }
  return sizes;
}

std::vector<TuneArrangement> arrangements(const TuneFlags& flags) {
  std::vector<std::uint32_t> sizes = flags.ranks;
  if (sizes.empty()) sizes = {2, 4, 8};
  std::vector<TuneArrangement> result;
  for (const std::uint32_t ranks : group_sizes(std::move(sizes), kRanksMax)) {
    result.push_back({ranks, ranks});
    const std::uint32_t crowd = (usable_cpu_count() / ranks + 1) * ranks;
    if (ranks <= usable_cpu_count() && crowd <= kRanksMax) result.push_back({ranks, crowd});
  }
  return result;
}

Tuned measure_host(const TuneFlags& flags, Progress& shown) {
  TuneEffort effort;
  if (flags.quick) effort = {.bytes_max = 64 * 1024, .rounds = 3, .batch_us = 100};
  Tuned result;
  const std::vector<TuneArrangement> all = arrangements(flags);
  shown.expect(all.size() * tuned_op_count());
  for (const TuneArrangement& arrangement : all) {
    const auto progress = [&, begun = false](Op op) mutable {
      if (std::exchange(begun, true)) shown.advance();
      shown.begin(std::string(to_string(op)) + " in groups of " +
                  std::to_string(arrangement.group_ranks) + " of " +
                  std::to_string(arrangement.world_ranks) + " ranks");
    };
    const bool crowded = arrangement.world_ranks > usable_cpu_count();
    for (const OpTimes& of_op : measure_paths(arrangement, effort, progress)) {
      FittedSteps fit = fit_steps(of_op.times);
      PathRow row{of_op.op, arrangement.group_ranks, crowded, fit.steps};
      result.rows.push_back({std::move(row), std::move(fit), of_op.times});
    }
    shown.advance();
  }
  return result;
}

/// Ranks that share a GPU would measure something else.
std::vector<std::uint32_t> gpu_group_sizes(const TuneFlags& flags, const cuda::Api& api) {
  std::uint32_t devices = 0;
  cuda::throw_unless_ok(api.device_count(&devices), "counting GPUs");
  if (devices < 2) {
    throw Error(ErrorCode::unsupported,
                "--device cuda measures calls between GPUs, and this process sees " +
                    std::to_string(devices),
                std::nullopt, "arguments");
  }
  const std::uint32_t most = std::min(devices, kRanksMax);
  std::vector<std::uint32_t> sizes = flags.ranks;
  for (std::uint32_t ranks = 2; flags.ranks.empty() && ranks <= std::min(most, 8U); ranks *= 2) {
    sizes.push_back(ranks);
  }
  return group_sizes(std::move(sizes), most);
}

Tuned measure_cuda(const TuneFlags& flags, Progress& shown) {
  GpuTuneEffort effort;
  if (flags.quick) {
    effort.bytes_max = 64 * 1024;
    effort.rounds = 3;
    effort.graph_calls = 8;
    effort.round_us = 100;
  }
  const cuda::Api& api = device_api();
  Tuned result;
  result.gpus = gpus_of_process(api);
  for (const std::uint32_t ranks : gpu_group_sizes(flags, api)) {
    const auto progress = [&](const std::string& what) {
      shown.begin(what + " on " + std::to_string(ranks) + " GPUs");
      shown.advance();
    };
    const GpuTimes times = measure_gpus(ranks, effort, progress);
    for (const FamilyTimes& family : times.grids) {
      result.grids.push_back({{family.family, ranks, family.fit.steps},
                              family.fit,
                              family.times,
                              {grid_threads().begin(), grid_threads().end()}});
    }
    for (const OpTimes& of_op : times.paths) {
      FittedSteps fit = fit_steps(of_op.times);
      PathRow row{of_op.op, ranks, false, fit.steps, Memory::cuda};
      result.rows.push_back({std::move(row), std::move(fit), of_op.times});
    }
  }
  return result;
}

void tune(const TuneFlags& flags, std::ostream& output, std::ostream& errors) {
  if (flags.device != "host" && flags.device != "cuda") {
    throw Error(ErrorCode::usage,
                "--device does not know '" + flags.device + "'; it takes host or cuda",
                std::nullopt, "arguments");
  }
  std::optional<OutputFile> file;
  if (!flags.output_file.empty()) file.emplace("--output", flags.output_file);
  Progress progress(errors, "measuring", "operations", flags.verbosity);
  const Tuned tuned =
      flags.device == "cuda" ? measure_cuda(flags, progress) : measure_host(flags, progress);
  progress.end();
  if (file) file->write(tune_document(tuned, /*compact=*/false) + "\n");
  if (flags.json) {
    output << tune_document(tuned, /*compact=*/true) << '\n';
    return;
  }
  print_tuned(tuned, output);
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
  command->add_option("--device", flags->device, "Whose memory calls are in: host, or cuda")
      ->capture_default_str()
      ->type_name("NAME");
  command
      ->add_option("-n,--ranks", flags->ranks,
                   "Group sizes to measure, 2 to 64; repeat it for several (default 2, 4, 8; on "
                   "cuda as many of them as there are GPUs for)")
      ->type_name("N")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      ->add_option("-o,--output", flags->output_file,
                   "Where to write the table (default: only print what was found)")
      ->type_name("FILE.json");
  command->add_flag("--quick", flags->quick,
                    "Fewer sizes and rounds: seconds instead of a minute, and coarser");
  add_verbosity_flags(*command, flags->verbosity, "No progress");
  command->add_flag("--json", flags->json,
                    "Print the table and its measurements as one JSON document");
  command->footer(kFooter);
  command->callback([flags, &output, &errors] { tune(*flags, output, errors); });
}

}  // namespace cohort
