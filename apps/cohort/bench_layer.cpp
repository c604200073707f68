#include "bench_layer.hpp"

#include <array>
#include <cstdio>
#include <memory>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cohort/error.hpp>
#include <cohort/version.hpp>

#include "base/bytes.hpp"
#include "base/wrapped.hpp"
#include "bench_layer_run.hpp"
#include "bench_options.hpp"
#include "layout_flags.hpp"
#include "path_flags.hpp"
#include "progress.hpp"
#include "verbosity.hpp"

namespace cohort {

namespace {

using bench::LayerMeasurement;
using bench::LayerOptions;
using bench::LayerRow;
using Json = nlohmann::ordered_json;

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

  # Four ranks on host memory, attention in two pairs:
  cohort bench layer --tp 4 --attn-dp 2 --rows 1..64 --layers 4)";

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

Json describe(const bench::Times& times) {
  return {{"p50_us", times.p50_us},
          {"mean_us", times.mean_us},
          {"min_us", times.min_us},
          {"rounds", times.calls}};
}

Json describe(const LayerRow& row, const LayerOptions& options) {
  Json document{{"rows", row.rows}, {"step", describe(row.step)}};
  document["step"]["p50_us_per_layer"] = row.step.p50_us / options.layers;
  if (row.launched.calls != 0) document["launched"] = describe(row.launched);
  document["calls"] = Json::array();
  for (const bench::LayerCall& call : row.calls) {
    document["calls"].push_back(
        {{"group", call.group}, {"op", call.op}, {"bytes", call.bytes}, {"path", call.path}});
  }
  return document;
}

void print_document(const LayerMeasurement& measurement, std::ostream& output) {
  const LayerOptions& options = measurement.options;
  Json document{{"schema", 1},
                {"version", COHORT_VERSION},
                {"device", to_string(options.memory)},
                {"ranks", options.sizes.tp},
                {"attn_dp", options.sizes.attn_dp},
                {"attn_cp", options.sizes.attn_cp},
                {"hidden", options.hidden},
                {"layers", options.layers},
                {"dtype", to_string(options.dtype)},
                {"norm", options.norm}};
  document["rows"] = Json::array();
  for (const LayerRow& row : measurement.rows) document["rows"].push_back(describe(row, options));
  output << document.dump() << '\n';
}

std::string calls_text(const LayerRow& row) {
  std::string text;
  for (const bench::LayerCall& call : row.calls) {
    text += (text.empty() ? "" : ", ") + call.op + " " + call.group + " " + call.path;
  }
  return text.empty() ? "none" : text;
}

void print_table(const LayerMeasurement& measurement, std::ostream& output) {
  const LayerOptions& options = measurement.options;
  const bool on_gpu = options.memory == Memory::cuda;
  output << "us of the boundaries of " << options.layers << " layers, hidden " << options.hidden
         << " " << to_string(options.dtype) << (options.norm ? " with norms" : "")
         << ",\nthe slowest of " << options.sizes.tp << " ranks on "
         << (on_gpu ? "GPUs, each step one graph" : "host memory") << "\n\n"
         << "  rows       step  per layer " << (on_gpu ? "  launched " : "")
         << " calls of one layer\n";
  const std::size_t indent = on_gpu ? 41 : 30;
  for (const LayerRow& row : measurement.rows) {
    std::array<char, 96> line{};
    std::snprintf(line.data(), line.size(), "%6zu %10.2f %10.2f ", row.rows, row.step.p50_us,
                  row.step.p50_us / options.layers);
    output << line.data();
    if (on_gpu) {
      std::snprintf(line.data(), line.size(), "%10.2f ", row.launched.p50_us);
      output << line.data();
    }
    const auto calls = wrapped(calls_text(row), kTextColumns - indent);
    for (std::size_t i = 0; i < calls.size(); ++i) {
      output << (i == 0 ? " " : std::string(indent, ' ')) << calls[i] << '\n';
    }
  }
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
  add_path_flags(command, flags.paths, /*with_gpus=*/true);
  add_layout_flags(command, flags.layout);
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
    const LayerOptions options = read_flags(*flags);
    Progress progress(errors, "bench layer", "rounds", flags->verbosity);
    // On GPUs in graphs, then without.
    progress.expect(options.rounds * (options.memory == Memory::cuda ? 2U : 1U));
    const LayerMeasurement measurement = bench::measure_layers(options, progress);
    progress.end();
    if (flags->json) {
      print_document(measurement, output);
    } else {
      print_table(measurement, output);
    }
  });
}

}  // namespace cohort
