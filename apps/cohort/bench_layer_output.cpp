#include "bench_layer_output.hpp"

#include <array>
#include <cstdio>
#include <ostream>

#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "base/wrapped.hpp"
#include "report/job_document.hpp"
#include "report/page.hpp"

namespace cohort::bench {

namespace {

using Json = nlohmann::ordered_json;

Json describe(const Times& times) {
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
  for (const LayerCall& call : row.calls) {
    document["calls"].push_back({{"group", call.group},
                                 {"op", call.op},
                                 {"bytes", call.bytes},
                                 {"path", call.path},
                                 {"reason", call.reason}});
  }
  return document;
}

Json document_of(const LayerMeasurement& measurement) {
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
  return document;
}

std::string calls_text(const LayerRow& row) {
  std::string text;
  for (const LayerCall& call : row.calls) {
    text += (text.empty() ? "" : ", ") + call.op + " " + call.group + " " + call.path;
  }
  return text.empty() ? "none" : text;
}

}  // namespace

void print_layer_table(const LayerMeasurement& measurement, std::ostream& output) {
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

std::string layer_document(const LayerMeasurement& measurement) {
  return document_of(measurement).dump();
}

std::string layer_report(const LayerMeasurement& measurement) {
  const Layout layout(measurement.options.sizes);
  return report_page(Json{{"schema", 1},
                          {"version", COHORT_VERSION},
                          {"kind", "layer"},
                          {"layout", groups_json(layout)},
                          {"layer", document_of(measurement)},
                          {"boundaries", boundaries_json(layout)}}
                         .dump());
}

}  // namespace cohort::bench
