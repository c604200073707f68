#include "bench_layer.hpp"

#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

#include "base/bytes.hpp"
#include "bench_layer_output.hpp"
#include "bench_layer_run.hpp"
#include "bench_options.hpp"
#include "layout_flags.hpp"
#include "output_file.hpp"
#include "path_flags.hpp"
#include "progress.hpp"
#include "verbosity.hpp"

namespace cohort {

namespace {

using bench::LayerMeasurement;
using bench::LayerOptions;

constexpr std::size_t kRowsMax = 65536;
constexpr std::size_t kHiddenMax = 65536;
constexpr std::size_t kNormHiddenMax = 16384;
constexpr std::uint32_t kLayersMax = 1000;

constexpr const char* kFooter =
    R"(A step is what a decoder of so many layers moves for one token of every sequence: the
attention output is added up over attn_tp, the rows of all replicas are gathered for the MLP, and
its output is added up and scattered back. Nothing is computed in between. Left out, --tp is 2 and
every rank is a replica of its own. Every row of every
boundary is checked before anything is timed. Ranks are threads of this process, each with the GPU
of its number on `--device cuda`, where a step is one CUDA graph, and `launched` is the same step
without a graph. A time is that of the slowest rank.

Exit codes: 0 when the step was measured; 2 for wrong flags and for a machine without what
`--device` asks for; 1 for all else: a wrong result, ranks that fail.

Examples:
  # Two replicas of attention on two GPUs, as a document:
  cohort bench layer --device cuda --tp 2 --json

  # Four ranks on host memory, attention in two pairs, also as a page:
  cohort bench layer --tp 4 --attn-dp 2 --rows 1..64 --layers 4 \
    --report layer.html)";

struct LayerFlags {
  LayoutFlags layout;
  std::string device = "host";
  std::string rows = "1..256";
  std::size_t hidden = 7168;
  std::uint32_t layers = 16;
  std::string dtype = "bf16";
  bool norm = false;
  std::uint32_t rounds = 5;
  double seconds = 0.05;
  bool quick = false;
  Verbosity verbosity;
  bool json = false;
  std::string report;
  PathFlags paths;
};

[[noreturn]] void refuse(const std::string& flag, const std::string& why) {
  throw Error(ErrorCode::usage, "--" + flag + " " + why, std::nullopt, "arguments");
}

/// Every rank a replica of its own, unless the flags say how attention is split.
LayoutSizes sizes_of(const LayoutFlags& flags) {
  LayoutSizes sizes = flags.sizes();
  if (!flags.tp) sizes.tp = 2;
  if (!flags.attn_dp && !flags.attn_cp && !flags.dp_size) sizes.attn_dp = sizes.tp;
  if (sizes.pp != 1) refuse("pp", "is 1 here: a layer lies in one pipeline stage");
  return sizes;
}

LayerOptions read_flags(const LayerFlags& flags) {
  LayerOptions options;
  options.sizes = sizes_of(flags.layout);
  static_cast<void>(Layout(options.sizes));  // refused here, once, and not by every rank
  if (flags.device != "host" && flags.device != "cuda") {
    refuse("device", "does not know '" + flags.device + "'; it takes host or cuda");
  }
  options.memory = flags.device == "cuda" ? Memory::cuda : Memory::host;
  if (flags.dtype != "f32" && flags.dtype != "bf16") {
    refuse("dtype", "does not know '" + flags.dtype + "'; it takes f32 or bf16");
  }
  options.dtype = flags.dtype == "f32" ? DType::f32 : DType::bf16;
  const bool rows_given = flags.rows != LayerFlags{}.rows;
  options.rows = bench::parse_byte_list(flags.quick && !rows_given ? "1,16" : flags.rows, "rows");
  if (options.rows.back() > kRowsMax) refuse("rows", "is at most " + std::to_string(kRowsMax));
  options.hidden = flags.hidden;
  if (options.hidden < 1 || options.hidden > kHiddenMax) {
    refuse("hidden", "is not from 1 to " + std::to_string(kHiddenMax));
  }
  options.norm = flags.norm;
  if (options.norm && options.hidden > kNormHiddenMax) {
    refuse("norm", "takes rows of at most " + std::to_string(kNormHiddenMax) + " elements");
  }
  options.layers = flags.layers;
  if (options.layers < 1 || options.layers > kLayersMax) {
    refuse("layers", "is not from 1 to " + std::to_string(kLayersMax));
  }
  if (flags.rounds < 1 || flags.rounds > 1000) refuse("rounds", "is not from 1 to 1000");
  if (!(flags.seconds > 0 && flags.seconds <= 60)) {
    refuse("seconds", "is not above 0 and at most 60");
  }
  options.rounds = flags.quick ? std::min(flags.rounds, 2U) : flags.rounds;
  options.seconds = flags.quick ? std::min(flags.seconds, 0.005) : flags.seconds;
  options.paths = flags.paths.table(options.memory);
  return options;
}

void add_flags(CLI::App& command, LayerFlags& flags) {
  command.add_option("--device", flags.device, "Where rows lie: host, or cuda")
      ->capture_default_str()
      ->type_name("NAME");
  command
      .add_option(
          "--rows", flags.rows,
          "Rows of the batch, comma-separated; 1..256 is by doubling. They are dealt out to "
          "the replicas")
      ->capture_default_str()
      ->type_name("LIST");
  command.add_option("--hidden", flags.hidden, "Elements of a row")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--layers", flags.layers, "Layers of a step")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--dtype", flags.dtype, "Element type: f32 or bf16")
      ->capture_default_str()
      ->type_name("TYPE");
  command.add_flag("--norm", flags.norm,
                   "Residual and RMS norm behind both sums too, in one kernel where there is one");
  command.add_option("--rounds", flags.rounds, "How often every row count has its turn")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--seconds", flags.seconds, "How long a round is at one row count")
      ->capture_default_str()
      ->type_name("SECONDS");
  command.add_flag("--quick", flags.quick,
                   "Few row counts, short rounds: a look, not a measurement");
  add_verbosity_flags(command, flags.verbosity, "No progress");
  command.add_flag("--json", flags.json, "Print one JSON document instead of a table");
  command
      .add_option("--report", flags.report,
                  "Also write one page that shows the measurement, for a browser")
      ->type_name("FILE.html");
  add_path_flags(command, flags.paths, /*with_gpus=*/true);
  add_layout_flags(command, flags.layout);
}

void run(const LayerFlags& flags, std::ostream& output, std::ostream& errors) {
  const LayerOptions options = read_flags(flags);
  std::optional<OutputFile> report;
  if (!flags.report.empty()) report.emplace("--report", flags.report);
  Progress progress(errors, "bench layer", "rounds", flags.verbosity);
  // On GPUs in graphs, then without.
  progress.expect(options.rounds * (options.memory == Memory::cuda ? 2U : 1U));
  const LayerMeasurement measurement = bench::measure_layers(options, progress);
  progress.end();
  const auto write_report = [&] {
    if (report) report->write(bench::layer_report(measurement));
  };
  // One document on standard output: the measurement's, or the error's of the file.
  if (flags.json) {
    write_report();
    output << bench::layer_document(measurement) << '\n';
    return;
  }
  bench::print_layer_table(measurement, output);
  write_report();
}

}  // namespace

void add_bench_layer_command(CLI::App& bench, std::ostream& output, std::ostream& errors) {
  const auto flags = std::make_shared<LayerFlags>();
  CLI::App* command =
      bench.add_subcommand("layer", "Time what moves between the parts of decoder layers");
  add_flags(*command, *flags);
  command->footer(kFooter);
  command->callback([&bench, flags, &output, &errors] {
    for (const CLI::Option* option : bench.get_options()) {
      if (option->count() == 0) continue;
      throw Error(ErrorCode::usage, option->get_name() + " must come after 'layer'", std::nullopt,
                  "arguments");
    }
    run(*flags, output, errors);
  });
}

}  // namespace cohort
